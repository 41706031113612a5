import assert from 'node:assert/strict'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import test, { describe, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { ProbeClient } from '../../gateway/probe/ask.ts'
import { silentWorkers } from '../../gateway/probe/burst.ts'
import type { ProbeOutcome } from '../../gateway/probe/outcome.ts'
import { Prober } from '../../gateway/probe/prober.ts'
import { answerOf, TOKEN, targetAt } from './answering.ts'

const never = new AbortController().signal
const OK = (worker: number): ProbeOutcome => ({ outcome: 'ok', worker, seconds: 0 })
const FAILED: ProbeOutcome = { outcome: 'failed', reason: 'no answer within 2 s' }
const REFUSED: ProbeOutcome = { outcome: 'refused', reason: 'HTTP status 503' }

describe('a burst', () => {
  /** The kernel chooses worker after worker; `by` says how each answers. */
  const burst = async (workers: number, by: (worker: number) => ProbeOutcome) => {
    let asked = 0
    let open = 0
    let most = 0
    const ask = async (): Promise<ProbeOutcome> => {
      most = Math.max(most, ++open)
      const outcome = by(asked++ % workers)
      await turn()
      open--
      return outcome
    }
    const silent = await silentWorkers(
      Array.from({ length: workers }, (_, worker) => worker),
      ask,
      never,
    )
    return { silent, asked, most }
  }

  test('finds the worker that does not answer, eight at a time', async () => {
    assert.deepEqual(await burst(4, (worker) => (worker === 2 ? FAILED : OK(worker))), { silent: [2], asked: 32, most: 8 })
  })

  test('ends when all have been heard', async () => {
    const { silent, asked } = await burst(4, OK)
    assert.deepEqual(silent, [])
    assert.ok(asked < 16, `asked ${asked} times`)
  })

  test('blames nobody where nothing failed, or something was refused', async () => {
    assert.deepEqual((await burst(2, () => OK(0))).silent, [])
    assert.deepEqual((await burst(2, (worker) => (worker === 0 ? FAILED : REFUSED))).silent, [])
  })

  test('is bounded', async () => {
    const { silent, asked } = await burst(64, () => FAILED)
    assert.deepEqual([silent.length, asked], [64, 64])
  })
})

/** The sockets of workers 0 and 1 on one port, as the kernel shares it out between them. */
async function twoSockets(t: TestContext): Promise<{ port: number; sockets: readonly Socket[] }> {
  const sockets: Socket[] = []
  let port = 0
  for (const worker of [0, 1]) {
    const socket = createSocket({ type: 'udp4', reusePort: true })
    socket.bind(port, '127.0.0.1')
    await once(socket, 'listening')
    serve(socket, worker)
    port = socket.address().port
    sockets.push(socket)
  }
  t.after(() => {
    for (const socket of sockets) socket.close()
  })
  return { port, sockets }
}

function serve(socket: Socket, worker: number): void {
  const answer = answerOf(worker)
  socket.on('message', (message, from) => socket.send(answer(message), from.port, from.address))
}

test('the prober finds the one of two sockets that is stuck, and it is bound anew', { skip: process.platform !== 'linux' }, async (t) => {
  const { port, sockets } = await twoSockets(t)
  // open, and the kernel gives it its share, but nothing answers
  sockets[1]?.removeAllListeners('message')
  const client = new ProbeClient({ token: TOKEN, keyDirectory: tmpdir(), timeoutMs: 200 })
  const outcomes: string[] = []
  const rebound: number[] = []
  const done = Promise.withResolvers<void>()
  const prober = new Prober({
    ask: (...given) => client.ask(...given),
    workers: 2,
    isServing: () => true,
    isAdmitted: () => true,
    rebind: async (worker) => {
      rebound.push(worker)
      serve(sockets[worker] as Socket, worker)
      done.resolve()
    },
    onChanged: ({ status }) => outcomes.push(status.outcome),
    // rounds follow each other at once
    times: { clock: () => performance.now(), wallClock: Date.now, pause: () => turn() },
  })
  prober.follow([targetAt('udp', port)])
  prober.start()
  await done.promise
  assert.equal(await prober.findDeaf(() => true), null)
  await prober.stop()
  assert.deepEqual(rebound, [1])
  assert.equal(outcomes.at(-1), 'ok')
  assert.deepEqual([prober.rebinds, prober.reports[0]?.status.rebinds], [1, 1])
})
