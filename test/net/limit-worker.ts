import { parentPort, workerData } from 'node:worker_threads'
import { parseAddress } from '../../net/address.ts'
import { ConcurrencyLimit } from '../../net/concurrency-limit.ts'

/** Run as a worker thread: takes as many as it gets, when it is told to. */
const limit = new ConcurrencyLimit(workerData as ConstructorParameters<typeof ConcurrencyLimit>[0])
const address = parseAddress('192.0.2.1')

parentPort?.once('message', () => {
  let taken = 0
  for (let i = 0; i < 100_000; i++) if (address !== null && limit.acquire(address) === null) taken++
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port, not a window
  parentPort?.postMessage(taken)
})
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port, not a window
parentPort?.postMessage('ready')
