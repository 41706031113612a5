import { parentPort, workerData } from 'node:worker_threads'
import { monotonicClock } from '../../net/clock.ts'
import { Flusher } from '../../net/flusher.ts'
import { createQuicEngine } from '../../net/quic/load.ts'
import type { QuicIdentity } from '../../net/quic.ts'
import { Wheel } from '../../net/wheel.ts'
import { QuicTestClient } from '../harness/quic.ts'

/** Run as a worker thread: serves and asks once, then ends in the way it was told. */
const { key, identity, roots, how } = workerData as { key: string; identity: QuicIdentity; roots: string; how: string }
const LIMITS = { idleMs: 10_000, streams: 10, window: 65_536 }

function report(text: string): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port, not a window
  parentPort?.postMessage(text)
}

// as in a gateway: to wait for another thread is nothing that keeps a thread alive
const alive = setInterval(() => {}, 1000)
const engine = createQuicEngine(key, { wheel: new Wheel(monotonicClock), clock: monotonicClock, flusher: new Flusher() })
if ('unavailable' in engine) throw new Error(engine.unavailable)
try {
  const listener = await engine.listen({
    name: 'worker',
    endpoint: { host: '127.0.0.1', port: 0 },
    protocol: 'echo',
    identity,
    limits: LIMITS,
    connections: 10,
    acceptor: {
      arrived: (quic) => ({
        established: () => {},
        received: (stream, bytes, fin) => quic.send(stream, Uint8Array.from(bytes), fin),
        reset: () => {},
        stalled: () => {},
        closed: () => {},
      }),
    },
  })
  for (let left = how === 'redial' ? 20 : 1; left > 0; left--) {
    const client = new QuicTestClient()
    client.connection = await engine.dial(
      { endpoint: listener.endpoint, protocol: 'echo', serverName: 'localhost', roots, limits: LIMITS },
      () => client,
    )
    await client.ready.promise
    const record = await client.over(client.send(Buffer.from('echo')))
    report(record?.bytes.toString() ?? '')
    if (how === 'exit') process.exit(7)
    await client[Symbol.asyncDispose]()
  }
  await listener.close()
} catch (error) {
  report(String(error))
}
clearInterval(alive)
