import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { parseAddress } from '../../net/address.ts'
import { allocateRates, type Rate, RateLimit } from '../../net/rate-limit.ts'

const RATE: Rate = { perSecond: 10, burstMs: 2000 }
const at = (address: string) => parseAddress(address) ?? assert.fail(address)

/** How often of `times` this may be at one moment. */
function takes(limit: RateLimit, address: string, times: number, now: number, rate = RATE): number {
  let taken = 0
  for (let i = 0; i < times; i++) if (limit.take(at(address), rate, now)) taken++
  return taken
}

describe('a rate', () => {
  test('lets a burst through, and then as many as it says', () => {
    const limit = new RateLimit(allocateRates())
    assert.equal(takes(limit, '192.0.2.1', 100, 1000), 20)
    assert.equal(takes(limit, '192.0.2.1', 100, 1099), 0)
    assert.equal(takes(limit, '192.0.2.1', 100, 1100), 1)
    assert.equal(takes(limit, '192.0.2.1', 100, 2100), 10)
    assert.equal(takes(limit, '192.0.2.1', 100, 60_000), 20)
  })

  test('is at least one, however long that takes', () => {
    const limit = new RateLimit(allocateRates())
    const rare = { perSecond: 0.1, burstMs: 1000 }
    assert.deepEqual([takes(limit, '192.0.2.1', 9, 1000, rare), takes(limit, '192.0.2.1', 9, 10_999, rare)], [1, 0])
    assert.equal(takes(limit, '192.0.2.1', 9, 11_000, rare), 1)
  })

  test('holds for each client by itself', () => {
    const limit = new RateLimit(allocateRates())
    assert.equal(takes(limit, '192.0.2.1', 100, 1000), 20)
    assert.equal(takes(limit, '192.0.2.2', 100, 1000), 20)
    assert.equal(takes(limit, '2001:db8::1', 100, 1000), 20)
  })

  test('holds for an IPv6 /64 together', () => {
    const limit = new RateLimit(allocateRates())
    assert.equal(takes(limit, '2001:db8::1', 15, 1000) + takes(limit, '2001:db8::ffff:1', 15, 1000), 20)
    assert.equal(takes(limit, '2001:db8:0:1::1', 100, 1000), 20)
  })

  for (const [network, member, expected] of [
    ['an IPv4 /24, four times', (i: number) => `192.0.2.${i}`, 80],
    ['an IPv6 /56, four times', (i: number) => `2001:db8:0:${i.toString(16)}::1`, 80],
    ['an IPv6 /48, sixteen times', (i: number) => `2001:db8:0:${i.toString(16)}00::1`, 320],
  ] as const) {
    test(`holds for ${network}`, () => {
      const limit = new RateLimit(allocateRates())
      let taken = 0
      for (let i = 0; i < 40; i++) taken += takes(limit, member(i), 20, 1000)
      assert.equal(taken, expected)
    })
  }

  test('of a network is not used up by those of its clients that have asked too much', () => {
    const limit = new RateLimit(allocateRates())
    assert.equal(takes(limit, '192.0.2.1', 10_000, 1000), 20)
    assert.equal(takes(limit, '192.0.2.2', 20, 1000), 20)
  })

  test('is the same for all threads', () => {
    const memory = allocateRates()
    const [one, other] = [new RateLimit(memory), new RateLimit(memory)]
    assert.equal(takes(one, '192.0.2.1', 15, 1000) + takes(other, '192.0.2.1', 15, 1000), 20)
  })

  test('of others is hardly ever touched by a thousand who ask too much', () => {
    const limit = new RateLimit(allocateRates())
    for (let i = 0; i < 1000; i++) takes(limit, `10.${i >> 8}.${i & 255}.1`, 30, 1000)
    let hurt = 0
    for (let i = 0; i < 1000; i++) if (takes(limit, `172.16.${i >> 4}.${i & 15}`, 1, 1000) === 0) hurt++
    assert.ok(hurt <= 2, `${hurt} of 1000`)
  })
})
