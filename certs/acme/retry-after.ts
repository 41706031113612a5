const DECIMAL = /^\d{1,10}$/
/** RFC 9110 §5.6.7: IMF-fixdate and the form of RFC 850. */
const HTTP_DATE = /^[A-Z][a-z]{2,8}, .* GMT$/

/** Milliseconds from `now`; null: the field says nothing that can be understood (RFC 9110 §10.2.3). */
export function parseRetryAfter(field: string | undefined, now: number): number | null {
  if (field === undefined) return null
  if (DECIMAL.test(field)) return Number(field) * 1000
  const at = HTTP_DATE.test(field) ? Date.parse(field) : Number.NaN
  return Number.isNaN(at) ? null : Math.max(0, at - now)
}
