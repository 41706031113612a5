import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { accepts } from '../accepts.ts'
import { PROGRAM_PATH } from './programs.ts'

const READY_MS = 10_000
const LOOK_MS = 10

/** A server of others in a process of its own. */
export class Peer {
  readonly port: number
  readonly #child: ChildProcess
  #text = ''

  private constructor(port: number, command: readonly string[]) {
    const [program = '', ...args] = command
    this.port = port
    this.#child = spawn(program, args, { env: { PATH: PROGRAM_PATH }, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.on('data', (chunk: Buffer) => (this.#text += chunk.toString()))
  }

  /** Resolves once it accepts connections. */
  static async start(port: number, command: readonly string[]): Promise<Peer> {
    const peer = new Peer(port, command)
    const deadline = AbortSignal.timeout(READY_MS)
    while (!(await accepts(port))) {
      if (peer.#child.exitCode === null && !deadline.aborted) await sleep(LOOK_MS)
      else {
        await peer.stop()
        throw new Error(`Cannot start ${command[0]}: it wrote ${peer.#text}`)
      }
    }
    return peer
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exit = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    await exit
  }
}
