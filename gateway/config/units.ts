/** Milliseconds of each unit, smallest first. */
const DURATIONS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
])

/** Octets of each unit, smallest first. */
const SIZES: ReadonlyMap<string, number> = new Map([
  ['KiB', 1024],
  ['MiB', 1_048_576],
  ['GiB', 1_073_741_824],
])

export const DURATION_PATTERN = /^(\d{1,9})(ms|s|m|h|d)$/
export const SIZE_PATTERN = /^(\d{1,9})(KiB|MiB|GiB)$/

/** "250ms", "30s", "5m", "12h" or "1d" in milliseconds. Null for anything else, a number without a unit included. */
export function parseDuration(text: string): number | null {
  return parse(text, { pattern: DURATION_PATTERN, units: DURATIONS })
}

/** "512KiB", "64MiB" or "2GiB" in octets. Null for anything else, a number without a unit included. */
export function parseSize(text: string): number | null {
  return parse(text, { pattern: SIZE_PATTERN, units: SIZES })
}

/** The shortest text that parseDuration() reads as `ms`, a whole number of milliseconds. */
export function formatDuration(ms: number): string {
  return ms === 0 ? '0s' : format(ms, DURATIONS)
}

/** The shortest text that parseSize() reads as `octets`, a whole number of KiB. */
export function formatSize(octets: number): string {
  return octets === 0 ? '0MiB' : format(octets, SIZES)
}

function parse(text: string, { pattern, units }: { pattern: RegExp; units: ReadonlyMap<string, number> }): number | null {
  const match = pattern.exec(text)
  const unit = units.get(match?.[2] ?? '')
  return unit === undefined ? null : Number(match?.[1]) * unit
}

function format(value: number, units: ReadonlyMap<string, number>): string {
  let text = ''
  for (const [name, size] of units) if (value % size === 0) text = `${value / size}${name}`
  return text
}
