import { type Field, isFieldName } from '../../net/fields.ts'
import { date } from '../../net/http-date.ts'
import { connectionOptions, isHopByHop } from './hop-by-hop.ts'
import { PSEUDONYM } from './request-fields.ts'

/** As undici hands header and trailer sections over. */
export type RawFields = readonly (Buffer | string)[] | object | null | undefined

/** The origin's own ways in (RFC 7838) lead around us. */
const DROPPED: ReadonlySet<string> = new Set(['alt-svc', 'via'])
/** RFC 9110 §6.5.1: needed before the content, so meaningless behind it or dangerous. */
const NO_TRAILERS: ReadonlySet<string> = new Set([
  'age',
  'cache-control',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'date',
  'expires',
  'host',
  'location',
  'retry-after',
  'set-cookie',
  'vary',
  'www-authenticate',
])
/** RFC 9110 §5.5: what no version of HTTP lets through. */
const NO_TEXT = /[^\t\x20-\x7e\x80-\xff]/

/** The field lines as they came; null if one cannot be sent on. */
export function linesOf(raw: RawFields): Field[] | null {
  const fields: Field[] = []
  if (!Array.isArray(raw)) return fields
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = text(raw[i]).toLowerCase()
    const value = text(raw[i + 1]).trim()
    if (!isFieldName(name) || NO_TEXT.test(value)) return null
    fields.push([name, value])
  }
  return fields
}

/** The header section for the client. */
export function clientFields(lines: readonly Field[], status: number): Field[] {
  const options = connectionOptions(lines)
  // RFC 9110 §8.6
  const hasNoLength = status < 200 || status === 204
  const fields = lines.filter(([name]) => !isHopByHop(name, options) && !DROPPED.has(name) && !(hasNoLength && name === 'content-length'))
  // RFC 9110 §6.6.1, §7.6.3
  if (status >= 200 && !fields.some(([name]) => name === 'date')) fields.push(['date', date()])
  const via = lines.filter(([name]) => name === 'via').map(([, value]) => `${value}, `)
  fields.push(['via', `${via.join('')}1.1 ${PSEUDONYM}`])
  return fields
}

/** The trailer section for the client: what cannot be sent on is left out. */
export function clientTrailers(raw: RawFields): Field[] {
  const lines = linesOf(raw) ?? []
  const options = connectionOptions(lines)
  return lines.filter(([name]) => !isHopByHop(name, options) && !DROPPED.has(name) && !NO_TRAILERS.has(name))
}

function text(octets: Buffer | string): string {
  return typeof octets === 'string' ? octets : octets.toString('latin1')
}
