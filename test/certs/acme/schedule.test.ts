import assert from 'node:assert/strict'
import test from 'node:test'
import { parseRetryAfter } from '../../../certs/acme/retry-after.ts'
import { boundedWait, MAX_ORDERS_PER_DAY, orderAllowedAt, renewalTime, waitAfter } from '../../../certs/acme/schedule.ts'
import { DAY_MS, HOUR_MS } from './lab.ts'

const MINUTE_MS = 60_000
const NINETY = { notBefore: 0, notAfter: 90 * DAY_MS }
const failed = { attempts: 1, isUrgent: false, random: 0, retryAfterMs: null, isRateLimited: false }
const terms = { suggestedAt: null, orderedAt: 0, random: 0 }

test('renewalTime() leaves a third of the lifetime, or a little less', () => {
  assert.equal(renewalTime(NINETY, terms), 60 * DAY_MS)
  assert.equal(renewalTime(NINETY, { ...terms, random: 0.5 }), 61.5 * DAY_MS)
  assert.equal(renewalTime({ notBefore: 0, notAfter: 6 * DAY_MS }, terms), 4 * DAY_MS)
  assert.equal(renewalTime({ notBefore: 0, notAfter: HOUR_MS }, terms), 40 * MINUTE_MS)
})

test('renewalTime() follows the CA, but neither into the last sixth nor into a loop', () => {
  const suggested = (day: number, more = {}): number => renewalTime(NINETY, { ...terms, suggestedAt: day * DAY_MS, ...more }) / DAY_MS
  assert.equal(suggested(20), 20)
  assert.equal(suggested(70), 70)
  assert.equal(suggested(80), 75)
  assert.equal(suggested(-5), 0.25, 'six hours after the last order')
  assert.equal(suggested(20, { orderedAt: 30 * DAY_MS }), 30.25)
  assert.equal(suggested(20, { orderedAt: 100 * DAY_MS }), 60, 'and never later than without a word of the CA')
})

test('waitAfter() doubles from a minute to a day, to an hour when it is urgent', () => {
  const minutes = (parts: Partial<typeof failed>): number => waitAfter({ ...failed, ...parts }) / MINUTE_MS
  assert.deepEqual(
    [1, 2, 3, 7, 11, 12, 1e6].map((attempts) => minutes({ attempts })),
    [1, 2, 4, 64, 1024, 1440, 1440],
  )
  assert.deepEqual(
    [1, 6, 7, 1e6].map((attempts) => minutes({ attempts, isUrgent: true })),
    [1, 32, 60, 60],
  )
  assert.equal(minutes({ attempts: 3, random: 0.999 }), waitAfter({ ...failed, attempts: 3, random: 0.999 }) / MINUTE_MS)
  assert.ok(minutes({ attempts: 3, random: 0.999 }) >= 3)
})

test('waitAfter() waits as long as the CA asks, up to a week', () => {
  const days = (retryAfterMs: number): number => waitAfter({ ...failed, isUrgent: true, retryAfterMs }) / DAY_MS
  assert.equal(days(2 * DAY_MS), 2)
  assert.equal(days(1e15), 7)
  assert.equal(waitAfter({ ...failed, retryAfterMs: 1000 }), MINUTE_MS)
  assert.equal(waitAfter({ ...failed, isRateLimited: true }), HOUR_MS)
})

test('boundedWait() does not believe a moment that is years away', () => {
  assert.equal(boundedWait(5, 1000), 5)
  assert.equal(boundedWait(1000 + 7 * DAY_MS, 0), 1000 + 7 * DAY_MS, 'the clock was put right by a second')
  assert.equal(boundedWait(1e15, 1000), 1000)
})

test('orderAllowedAt() lets no more than a number of orders a day', () => {
  const now = 100 * DAY_MS
  const orders = Array.from({ length: MAX_ORDERS_PER_DAY }, (_, i) => now - DAY_MS + 1000 + i)
  assert.equal(orderAllowedAt(orders.slice(1), now), 0)
  assert.equal(orderAllowedAt(orders, now), now + 1000)
  assert.equal(orderAllowedAt([0, 1, ...orders], now), now + 1000)
  assert.equal(orderAllowedAt(orders, now - 2 * DAY_MS), 0, 'those of a clock that was ahead do not count')
})

test('parseRetryAfter() reads seconds and dates', () => {
  const now = Date.UTC(2026, 10, 6, 8, 49, 37)
  const cases = [
    [undefined, null],
    ['120', 120_000],
    ['0', 0],
    ['Fri, 06 Nov 2026 09:49:37 GMT', HOUR_MS],
    ['Friday, 06-Nov-26 09:49:37 GMT', HOUR_MS],
    ['Thu, 05 Nov 2026 08:49:37 GMT', 0],
    ['-5', null],
    ['1.5', null],
    ['99999999999', null],
    ['soon', null],
    ['Fri, 99 Nov 2026 09:49:37 GMT', null],
  ] as const
  for (const [field, expected] of cases) assert.equal(parseRetryAfter(field, now), expected, String(field))
})
