/** Milliseconds of each unit, smallest first. */
const UNITS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
])

export const DURATION_PATTERN = /^(\d{1,9})(ms|s|m|h|d)$/

/** "250ms", "30s", "5m", "12h" or "1d" in milliseconds. Null for anything else, a number without a unit included. */
export function parseDuration(text: string): number | null {
  const match = DURATION_PATTERN.exec(text)
  const unit = UNITS.get(match?.[2] ?? '')
  return unit === undefined ? null : Number(match?.[1]) * unit
}

/** The shortest text that parseDuration() reads as `ms`, a whole number of milliseconds. */
export function formatDuration(ms: number): string {
  let text = '0s'
  for (const [name, size] of UNITS) if (ms > 0 && ms % size === 0) text = `${ms / size}${name}`
  return text
}
