/** How figures are shown to people. What there is none of is a dash. */
export const NONE = '–'

const DURATIONS = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
  ['s', 1],
] as const

const SIZES = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

/** "1,234,567" */
export function count(value: number): string {
  return value.toLocaleString('en-US')
}

/** "1 entry", "1,234 entries" */
export function counted(value: number, one: string, many: string): string {
  return `${count(value)} ${value === 1 ? one : many}`
}

/** "3 d 4 h": the two largest units. */
export function duration(seconds: number): string {
  let left = Math.floor(Math.abs(seconds))
  const parts: string[] = []
  for (const [unit, size] of DURATIONS) {
    const value = Math.floor(left / size)
    left -= value * size
    // what follows the largest unit is the next one, or nothing
    if (parts.length > 0 || value > 0) parts.push(value > 0 ? `${value} ${unit}` : '')
  }
  return parts.slice(0, 2).join(' ').trim() || '0 s'
}

/** "0.4 ms", "120 ms", "1.2 s" */
export function latency(seconds: number | null): string {
  if (seconds === null) return NONE
  const milliseconds = seconds * 1000
  if (milliseconds >= 999.5) return `${seconds.toFixed(1)} s`
  return `${milliseconds.toFixed(milliseconds < 9.95 ? 1 : 0)} ms`
}

/** "12.3 MiB" */
export function octets(value: number): string {
  let size = value
  let unit = 0
  // before 1023.95 becomes "1024.0"
  while (size >= 1023.95 && unit < SIZES.length - 1) {
    size /= 1024
    unit++
  }
  return `${unit === 0 ? size : size.toFixed(1)} ${SIZES[unit]}`
}

/** "93.2 %" of a share from 0 to 1; of nothing there is none. */
export function percent(share: number): string {
  return Number.isFinite(share) ? `${(share * 100).toFixed(1)} %` : NONE
}

/** A number a second. */
export function rate(perSecond: number): string {
  return perSecond > 0 && perSecond < 9.95 ? perSecond.toFixed(1) : count(Math.round(perSecond))
}

/** "2026-03-01 12:00:00 UTC" of a time in ISO 8601. */
export function moment(iso: string): string {
  return iso.replace(/T(.*)\..*/, ' $1 UTC')
}
