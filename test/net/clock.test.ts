import assert from 'node:assert/strict'
import { once } from 'node:events'
import test from 'node:test'
import { Worker } from 'node:worker_threads'
import { monotonicClock } from '../../net/clock.ts'

test('monotonicClock() tells the same time in all threads', async () => {
  const code = `import(${JSON.stringify(new URL('../../net/clock.ts', import.meta.url).href)}).then(({ monotonicClock }) => {
    const { parentPort } = require('node:worker_threads')
    parentPort.on('message', () => parentPort.postMessage(monotonicClock()))
    parentPort.postMessage('ready')
  })`
  const worker = new Worker(code, { eval: true })
  await once(worker, 'message')
  const before = monotonicClock()
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port, not a window
  worker.postMessage('time')
  const [there] = (await once(worker, 'message')) as [number]
  const after = monotonicClock()
  await worker.terminate()
  // each thread has read two clocks, one after the other, to find the origin
  assert.ok(before - 1 < there && there < after + 1, `${before} ${there} ${after}`)
})
