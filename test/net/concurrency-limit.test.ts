import assert from 'node:assert/strict'
import { once } from 'node:events'
import test from 'node:test'
import { Worker } from 'node:worker_threads'
import { parseAddress } from '../../net/address.ts'
import { forgetConcurrency } from '../../net/concurrency-limit.ts'
import { concurrencyLimit, concurrencyLimits } from '../harness/limits.ts'

const address = (text: string) => parseAddress(text) ?? assert.fail(text)
/** Each in a /24 of its own. */
const numbered = (n: number) => address(`${1 + (n >>> 16)}.${(n >>> 8) & 255}.${n & 255}.1`)

test('a client has its share once in all threads, and gets a place back with each that ends', () => {
  const { all } = concurrencyLimits(3, { perClient: 4 })
  const [one, two] = [address('192.0.2.1'), address('192.0.2.2')]
  const taken = Array.from({ length: 9 }, (_, i) => all[i % 3]?.acquire(one))
  assert.deepEqual(taken, [null, null, null, null, ...Array<string>(5).fill('client')])
  assert.equal(all[0]?.acquire(two), null)
  all[1]?.release(one)
  assert.deepEqual([all[2]?.acquire(one), all[0]?.acquire(one)], [null, 'client'])
})

test('an IPv6 client is a /64, an IPv4 client an address, mapped or not', () => {
  const limit = concurrencyLimit({ perClient: 1 })
  const acquire = (text: string) => limit.acquire(address(text))
  assert.deepEqual(['2001:db8::1', '2001:db8::ffff:1', '2001:db8:0:1::1'].map(acquire), [null, 'client', null])
  assert.deepEqual(['192.0.2.1', '::ffff:192.0.2.1', '192.0.2.2'].map(acquire), [null, 'client', null])
})

for (const [network, times, nth] of [
  ['an IPv4 /24', 4, (n: number) => `192.0.2.${n}`],
  ['an IPv6 /56', 4, (n: number) => `2001:db8:0:${n.toString(16)}::1`],
  ['an IPv6 /48', 16, (n: number) => `2001:db8:0:${(256 * n).toString(16)}::1`],
] as const) {
  test(`${network} has ${times} times what one client has`, () => {
    const limit = concurrencyLimit({ perClient: 2 })
    const clients = Array.from({ length: times }, (_, n) => address(nth(n)))
    for (const client of clients) assert.deepEqual([limit.acquire(client), limit.acquire(client)], [null, null])
    assert.equal(limit.acquire(address(nth(times))), 'client')
    limit.release(clients[0] ?? assert.fail())
    assert.equal(limit.acquire(address(nth(times))), null)
    assert.equal(limit.acquire(address('198.51.100.1')), null)
  })
}

test('the ceiling is one for all threads, and after it was met there has to be some room again', () => {
  const { all } = concurrencyLimits(2, { perClient: 1000, total: 100 })
  for (let i = 0; i < 100; i++) assert.equal(all[i % 2]?.acquire(numbered(i)), null)
  assert.deepEqual([all[0]?.acquire(numbered(100)), all[1]?.acquire(numbered(100))], ['total', 'total'])
  for (let i = 0; i < 5; i++) all[i % 2]?.release(numbered(i))
  assert.equal(all[0]?.acquire(numbered(100)), 'total', '96 with this one')
  all[1]?.release(numbered(5))
  assert.equal(all[0]?.acquire(numbered(100)), null)
  for (let i = 0; i < 5; i++) assert.equal(all[1]?.acquire(numbered(i)), null)
  assert.equal(all[1]?.acquire(numbered(6)), 'total')
})

test('what a thread held that has ended is free', () => {
  const { shared, all } = concurrencyLimits(2, { perClient: 3 })
  const one = address('192.0.2.1')
  assert.deepEqual([all[0]?.acquire(one), all[0]?.acquire(one), all[1]?.acquire(one), all[1]?.acquire(one)], [null, null, null, 'client'])
  forgetConcurrency(shared, 0)
  assert.deepEqual([all[1]?.acquire(one), all[1]?.acquire(one), all[1]?.acquire(one)], [null, null, 'client'])
})

test('who is busy keeps nobody else out', () => {
  const limit = concurrencyLimit()
  // as many clients at their limit as there may be connections
  for (let i = 0; i < 199 * 100; i++) assert.equal(limit.acquire(numbered(i % 199)), null)
  let refused = 0
  for (let i = 1000; i < 3000; i++) {
    if (limit.acquire(numbered(i)) !== null) refused++
    else limit.release(numbered(i))
  }
  assert.equal(refused, 0)
})

test('threads that count at once never let more than the limit pass', async () => {
  const terms = { perClient: 500, total: 20_000 }
  const { shared, all } = concurrencyLimits(2, terms)
  const worker = new Worker(new URL('./limit-worker.ts', import.meta.url), { workerData: { shared, worker: 1, terms } })
  await once(worker, 'message')
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port, not a window
  worker.postMessage('go')
  let taken = 0
  for (let i = 0; i < 100_000; i++) if (all[0]?.acquire(address('192.0.2.1')) === null) taken++
  const [others] = (await once(worker, 'message')) as [number]
  assert.equal(taken + others, terms.perClient)
})
