import type { Identity } from './identity.ts'
import type { CertificateState } from './provider.ts'

const DAY_MS = 86_400_000
/** Whoever renews has begun at a third; when this much is left, half of the time for it has gone by in vain. */
const ENDING_SHARE_LEFT = 1 / 6

type Validity = Pick<Identity, 'notBefore' | 'notAfter'>

/** Whether less than a sixth of its time is left. `now`: milliseconds since 1970. */
export function endsSoon({ notBefore, notAfter }: Validity, now: number): boolean {
  return notAfter - now < (notAfter - notBefore) * ENDING_SHARE_LEFT
}

/** When the first of its present ones ends, which is when some clients are refused; null: there is none. */
export function firstToEnd({ identities }: CertificateState): Identity | null {
  return identities.reduce<Identity | null>((first, each) => (first === null || each.notAfter < first.notAfter ? each : first), null)
}

export function nameOf({ names, source }: Pick<CertificateState, 'names' | 'source'>): string {
  return names[0] ?? source
}

/** Whole days; negative once it has expired. Both milliseconds since 1970. */
export function daysLeft({ notAfter }: Pick<Identity, 'notAfter'>, now: number): number {
  return Math.floor((notAfter - now) / DAY_MS)
}
