import * as z from 'zod'
import type { Knob } from '../../dns/knob.ts'
import type { Path } from './located.ts'
import { holdsKey, pathText, show } from './problem.ts'
import { DURATION_PATTERN, formatDuration, formatSize, parseDuration, parseSize, SIZE_PATTERN } from './units.ts'

/**
 * The kinds of field the form is made of. Each parses: what comes out is what the gateway uses. The message of an issue says
 * only what was expected; issues.ts adds what was received, and where.
 */

/** A section: a map of settings in which every key is optional, so it may be missing or empty itself ("tls:" and nothing below). */
export function section<S extends z.ZodType>(settings: S, description: string) {
  return z
    .preprocess((value) => value ?? {}, settings)
    .prefault({})
    .describe(description)
}

/** A map of exactly these keys. */
export function settings<S extends z.core.$ZodLooseShape>(shape: S) {
  return z.strictObject(shape, { error: 'expected a map of settings' })
}

/** Text that `parse` understands; null is what it does not. `expected` may depend on what was received. `pattern` helps editors only. */
export function text<T>(
  expected: string | ((received: unknown) => string),
  { parse, pattern }: { parse: (text: string) => T | null; pattern?: RegExp },
) {
  const messageFor = (received: unknown): string => (typeof expected === 'string' ? expected : expected(received))
  const form = z.string({ error: ({ input }) => messageFor(input) }).meta(pattern === undefined ? {} : { pattern: pattern.source })
  return form.transform((value, context) => {
    const parsed = parse(value)
    if (parsed !== null) return parsed
    context.addIssue({ code: 'custom', message: messageFor(value) })
    return z.NEVER
  })
}

/** Text that stays as it is when `pattern` matches all of it. */
export function word(expected: string, pattern: RegExp) {
  return text(expected, { pattern, parse: (value) => (pattern.test(value) ? value : null) })
}

/** Milliseconds, written with their unit. */
export function duration(range: Knob, description: string) {
  const { expected, parse, from, to, standard } = durationForm(range)
  return text(expected, { parse, pattern: DURATION_PATTERN })
    .prefault(standard)
    .describe(`${description}: a number with its unit (ms, s, m, h, d), ${from} to ${to}`)
}

/** Milliseconds, written with their unit; or 0 for none. */
export function durationOrNone(range: Knob, description: string) {
  const { expected, parse, to, standard } = durationForm(range)
  return orZero(expected, text(expected, { parse: (value) => (value === '0' ? 0 : parse(value)), pattern: DURATION_PATTERN }))
    .prefault(standard)
    .describe(`${description}: 0, or a number with its unit (ms, s, m, h, d), to ${to}`)
}

function durationForm(range: Knob) {
  const [from, to, standard] = [formatDuration(range.min), formatDuration(range.max), formatDuration(range.default)]
  const expected = (received: unknown): string => {
    if (/^[\d.]+$/.test(String(received))) return `expected a number with its unit (ms, s, m, h, d), such as "${standard}"`
    return `expected a duration from ${from} to ${to}, such as "${standard}"`
  }
  const parse = (value: string): number | null => {
    const ms = parseDuration(value)
    return ms !== null && ms >= range.min && ms <= range.max ? ms : null
  }
  return { expected, parse, from, to, standard }
}

/** Octets of memory, written with their unit; or 0 for none. */
export function memoryOrNone(range: Knob, description: string) {
  const [from, to, standard] = [formatSize(range.min), formatSize(range.max), formatSize(range.default)]
  const expected = `expected 0, or a size with its unit (KiB, MiB, GiB) from ${from} to ${to}, the memory of this machine, such as "${standard}"`
  const parse = (value: string): number | null => {
    const octets = value === '0' ? 0 : parseSize(value)
    return octets === 0 || (octets !== null && octets >= range.min && octets <= range.max) ? octets : null
  }
  return orZero(() => expected, text(expected, { parse, pattern: SIZE_PATTERN }))
    .prefault(standard)
    .describe(`${description}: 0, or a size with its unit (KiB, MiB, GiB), from ${from}`)
}

/** Octets of memory, written with their unit; or "auto" for what the machine suggests. */
export function memoryOrAuto(range: Knob, description: string) {
  const [from, to] = [formatSize(range.min), formatSize(range.max)]
  const expected = `expected "auto", or a size with its unit (KiB, MiB, GiB) from ${from} to ${to}, the memory of this machine`
  const parse = (value: string): number | null => {
    const octets = parseSize(value)
    return octets !== null && octets >= range.min && octets <= range.max ? octets : null
  }
  return z
    .union([z.literal('auto'), text(expected, { parse, pattern: SIZE_PATTERN })], { error: expected })
    .prefault('auto')
    .describe(`${description}: auto (four fifths of all), or a size with its unit (MiB, GiB), from ${from}`)
}

/** Zero needs no unit. */
function orZero<T extends z.ZodType>(expected: (received: unknown) => string, form: T) {
  return z.union([z.literal(0), form], { error: ({ input }) => expected(input) })
}

/** A whole number. */
export function count(range: Knob, description: string) {
  return wholeNumber(range).prefault(range.default).describe(`${description}: ${range.min} to ${range.max}`)
}

export function wholeNumber({ min, max }: Omit<Knob, 'default'>) {
  const error = `expected a whole number from ${min} to ${max}`
  return z.int({ error }).min(min, { error }).max(max, { error })
}

/** One of `words`; `note` ends the message. */
export function choice<const T extends readonly [string, ...string[]]>(words: T, note = '') {
  const listed = words.map((each) => `"${each}"`).join(', ')
  return z.enum(words, { error: `expected ${words.length === 1 ? listed : `one of ${listed}`}${note}` })
}

/** A switch, and how it stands when nobody touches it. */
export function toggle(standard: boolean, description: string) {
  return z.boolean({ error: 'expected true or false' }).prefault(standard).describe(description)
}

/** A path of the file system; relative ones are resolved in complete.ts, which knows where they were written. */
export function filePath(what: string) {
  return text(`expected the path of ${what}`, {
    parse: (value) => (value === '' || value.includes('\0') || holdsKey(value) ? null : value),
  })
}

/** A refinement for the list at `path`: no two entries with the same key. */
export function distinct<T>(expected: string, { path, keyOf }: { path: Path; keyOf: (entry: T) => string }) {
  return (entries: readonly T[], context: z.core.$RefinementCtx<readonly T[]>): void => {
    const first = new Map<string, number>()
    for (const [i, entry] of entries.entries()) {
      const key = keyOf(entry)
      const earlier = first.get(key)
      if (earlier === undefined) first.set(key, i)
      else {
        const params = { received: `${show(key)}, which ${pathText([...path, earlier])} has` }
        context.addIssue({ code: 'custom', path: [i], message: expected, params })
      }
    }
  }
}
