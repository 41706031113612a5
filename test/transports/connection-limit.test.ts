import assert from 'node:assert/strict'
import { once } from 'node:events'
import test from 'node:test'
import { Worker } from 'node:worker_threads'
import { parseAddress } from '../../net/address.ts'
import { allocateConnections, ConnectionLimit, forgetConnections } from '../../transports/connection-limit.ts'

const address = (text: string) => parseAddress(text) ?? assert.fail(text)
const numbered = (n: number) => address(`${1 + (n >>> 16)}.${(n >>> 8) & 255}.${n & 255}.1`)

function limits(workers: number, perClient: number) {
  const shared = allocateConnections(workers)
  return { shared, all: Array.from({ length: workers }, (_, worker) => new ConnectionLimit({ shared, worker, perClient })) }
}

test('a client has its connections once in all threads, and gets a place back with each that ends', () => {
  const { all } = limits(3, 4)
  const [one, two] = [address('192.0.2.1'), address('192.0.2.2')]
  const taken = Array.from({ length: 9 }, (_, i) => all[i % 3]?.acquire(one))
  assert.deepEqual(taken, [true, true, true, true, false, false, false, false, false])
  assert.equal(all[0]?.acquire(two), true)
  all[1]?.release(one)
  assert.deepEqual([all[2]?.acquire(one), all[0]?.acquire(one)], [true, false])
})

test('an IPv6 client is a /64, an IPv4 client an address, mapped or not', () => {
  const { all } = limits(1, 1)
  const [limit] = all
  const acquire = (text: string) => limit?.acquire(address(text))
  assert.deepEqual(['2001:db8::1', '2001:db8::ffff:1', '2001:db8:0:1::1'].map(acquire), [true, false, true])
  assert.deepEqual(['192.0.2.1', '::ffff:192.0.2.1', '192.0.2.2'].map(acquire), [true, false, true])
})

test('the total is one for all threads', () => {
  const { all } = limits(2, 1_000_000)
  let open = 0
  while (all[open % 2]?.acquire(numbered(open))) open++
  assert.equal(open, 20_000)
  all[0]?.release(numbered(0))
  assert.deepEqual([all[1]?.acquire(numbered(0)), all[0]?.acquire(numbered(1))], [true, false])
})

test('what a thread held that has ended is free', () => {
  const { shared, all } = limits(2, 3)
  const one = address('192.0.2.1')
  assert.deepEqual([all[0]?.acquire(one), all[0]?.acquire(one), all[1]?.acquire(one), all[1]?.acquire(one)], [true, true, true, false])
  forgetConnections(shared, 0)
  assert.deepEqual([all[1]?.acquire(one), all[1]?.acquire(one), all[1]?.acquire(one)], [true, true, false])
})

test('who is busy keeps nobody else out', () => {
  const { all } = limits(1, 100)
  const [limit] = all
  // as many clients at their limit as there may be connections
  for (let i = 0; i < 199 * 100; i++) assert.ok(limit?.acquire(numbered(i % 199)))
  let refused = 0
  for (let i = 1000; i < 3000; i++) {
    if (!limit?.acquire(numbered(i))) refused++
    else limit.release(numbered(i))
  }
  assert.equal(refused, 0)
})

test('threads that count at once never let more than the limit pass', async () => {
  const perClient = 500
  const { shared, all } = limits(2, perClient)
  const worker = new Worker(new URL('./limit-worker.ts', import.meta.url), { workerData: { shared, worker: 1, perClient } })
  await once(worker, 'message')
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port, not a window
  worker.postMessage('go')
  let taken = 0
  for (let i = 0; i < 100_000; i++) if (all[0]?.acquire(address('192.0.2.1'))) taken++
  const [others] = (await once(worker, 'message')) as [number]
  assert.equal(taken + others, perClient)
})
