import { fork } from 'node:child_process'
import { once } from 'node:events'

/** Runs `script` in a process of its own, with a heap of its own, and takes the one message that it sends. */
export async function inChild<Input, Output>(script: URL, input: Input): Promise<Output> {
  const child = fork(script, [JSON.stringify(input)])
  const exit = once(child, 'exit')
  const message = once(child, 'message')
  const first = await Promise.race([message, exit.then(([code]) => Promise.reject(new Error(`Child process failed: exit code ${code}`)))])
  await exit
  return first[0] as Output
}
