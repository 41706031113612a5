/** When things are done, as a function of times: milliseconds since 1970 and lengths in milliseconds. `random`: 0 ≤ n < 1. */

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000

/** The clock is looked at again after that: it may have been set, or the machine may have slept. */
export const LOOK_MS = HOUR_MS
/** Listeners by which challenges are answered come up meanwhile; and whatever is wrong with the times, it is no loop. */
export const PAUSE_MS = 1000

/** 30 days of 90, two of six. */
const SHARE_LEFT = 1 / 3
/** By how much of its lifetime a renewal may be later, so that not all gateways ask in the same minute. */
const JITTER_SHARE = 1 / 30
/** From here on it is urgent, whatever the CA suggests. */
const URGENT_SHARE = 1 / 6
/** A CA that suggests the past again and again would be asked without end. */
const MIN_SUGGESTED_AGE_MS = 6 * HOUR_MS

const FIRST_BACKOFF_MS = MINUTE_MS
const MAX_BACKOFF_MS = DAY_MS
const MAX_URGENT_BACKOFF_MS = HOUR_MS
/** Let's Encrypt's longest rate limit counts seven days. */
const MAX_WAIT_MS = 7 * DAY_MS
/** A clock that is merely put right ends no wait that the CA has asked for. */
const CLOCK_STEP_MS = HOUR_MS
/** A rate limit of unknown length. */
const RATE_LIMITED_MS = HOUR_MS

/**
 * Two thirds of an hour make 36 a day; public CAs take 300 new orders in three hours. Whatever goes wrong here, it stays far below
 * what would have an account locked.
 */
export const MAX_ORDERS_PER_DAY = 48

export interface Lifetime {
  readonly notBefore: number
  readonly notAfter: number
}

export interface RenewalTerms {
  /** The moment that was chosen in the CA's window (RFC 9773 §4.2); null: there is none. */
  readonly suggestedAt: number | null
  /** When a certificate was ordered last; 0: never. */
  readonly orderedAt: number
  readonly random: number
}

/** When a certificate is to be replaced. */
export function renewalTime(lifetime: Lifetime, { suggestedAt, orderedAt, random }: RenewalTerms): number {
  const { notBefore, notAfter } = lifetime
  const fallback = notAfter - (notAfter - notBefore) * (SHARE_LEFT - random * JITTER_SHARE)
  if (suggestedAt === null) return Math.round(fallback)
  const earliest = Math.min(orderedAt + MIN_SUGGESTED_AGE_MS, fallback)
  return Math.round(Math.min(Math.max(suggestedAt, earliest), urgentFrom(lifetime)))
}

export function isUrgent(lifetime: Lifetime | null, now: number): boolean {
  return lifetime === null || now >= urgentFrom(lifetime)
}

export interface Failed {
  /** How often it was tried, 1 or more. */
  readonly attempts: number
  readonly isUrgent: boolean
  readonly random: number
  /** What the CA asks for; null: nothing. */
  readonly retryAfterMs: number | null
  readonly isRateLimited: boolean
}

/** How long to wait after a failure. */
export function waitAfter({ attempts, isUrgent, random, retryAfterMs, isRateLimited }: Failed): number {
  const asked = retryAfterMs ?? (isRateLimited ? RATE_LIMITED_MS : 0)
  const own = backoff(attempts, isUrgent ? MAX_URGENT_BACKOFF_MS : MAX_BACKOFF_MS)
  return Math.round(Math.max(Math.min(asked, MAX_WAIT_MS), own * (1 - random / 4)))
}

/** Doubled each time, from a minute. */
export function backoff(attempts: number, max: number): number {
  return Math.min(max, FIRST_BACKOFF_MS * 2 ** Math.min(attempts - 1, 20))
}

/** A moment that is further away than any wait was written down while the clock was ahead: it holds no more. */
export function boundedWait(until: number, now: number): number {
  return until - now > MAX_WAIT_MS + CLOCK_STEP_MS ? now : until
}

/** Those of the last day. */
export function recentOrders(orders: readonly number[], now: number): readonly number[] {
  return orders.filter((at) => at > now - DAY_MS && at <= now)
}

/** From when on another order is within the bound. */
export function orderAllowedAt(orders: readonly number[], now: number): number {
  const recent = recentOrders(orders, now)
  const oldest = recent[recent.length - MAX_ORDERS_PER_DAY]
  return oldest === undefined ? 0 : oldest + DAY_MS
}

function urgentFrom({ notBefore, notAfter }: Lifetime): number {
  return notAfter - (notAfter - notBefore) * URGENT_SHARE
}
