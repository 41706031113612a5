import { contentLengthOf, type Field, NO_CONTENT_LENGTH } from '../../net/fields.ts'
import type { WebRequest } from './exchange.ts'
import { connectionOptions, isHopByHop } from './hop-by-hop.ts'

/** RFC 9110 §7.6.3: who we are in Via. */
export const PSEUDONYM = 'atlas'
const OURSELVES = new RegExp(`(?:^|,)[ \\t]*[^ \\t,]+[ \\t]+${PSEUDONYM}(?![^ \\t,])`, 'g')

/** Said anew, or not for the origin. */
const REPLACED: ReadonlySet<string> = new Set(['content-length', 'cookie', 'expect', 'host', 'max-forwards', 'via'])
/** Only we say who the client is. Proxy becomes HTTP_PROXY in a CGI program, and so the proxy that it uses itself. */
const CLAIMS = /^(?:forwarded|x-forwarded-.*|x-forwarded|x-real-ip|proxy)$/

/** The header section for the origin, as undici takes it: names and values in turn. Whether there is content, and how it is framed, is not in it. */
export function originFields(request: WebRequest): string[] {
  const options = connectionOptions(request.fields)
  const lines: string[] = ['host', request.authority]
  for (const [name, value] of request.fields) {
    // "_" is the same as "-" to programs that get fields as variables (RFC 3875 §4.1.18)
    const plain = name.replaceAll('_', '-')
    if (isHopByHop(plain, options) || REPLACED.has(plain) || CLAIMS.test(plain)) continue
    lines.push(name, value)
  }
  // RFC 9113 §8.2.3: HTTP/2 may split it, HTTP/1.1 must not
  const cookie = joined(request.fields, 'cookie', '; ')
  if (cookie !== null && !options.has('cookie')) lines.push('cookie', cookie)
  const hops = forwardsLeft(request)
  if (hops !== null) lines.push('max-forwards', String(hops - 1))
  const via = joined(request.fields, 'via', ', ')
  lines.push('via', `${via === null ? '' : `${via}, `}${request.version} ${PSEUDONYM}`)
  lines.push(...claims(request))
  return lines
}

/** RFC 7239 §4; the other fields are older, and known to more programs. */
function claims({ client, authority }: WebRequest): string[] {
  const node = client.address.includes(':') ? `"[${client.address}]"` : client.address
  const host = authority.replaceAll(/["\\]/g, '\\$&')
  return [
    'x-forwarded-for',
    client.address,
    'x-forwarded-host',
    authority,
    'x-forwarded-proto',
    'https',
    'forwarded',
    `for=${node};host="${host}";proto=https`,
  ]
}

/** Whether the content has no other transfer coding than chunked, which both parsers take off (RFC 9112 §6.1). */
export function hasPlainCoding(fields: readonly Field[]): boolean {
  return (joined(fields, 'transfer-encoding', ',') ?? 'chunked').toLowerCase() === 'chunked'
}

/** RFC 9110 §8.6; NO_CONTENT_LENGTH where it is not said, null where it is said wrongly. */
export function declaredLength(fields: readonly Field[]): number | null {
  return contentLengthOf(joined(fields, 'content-length', ','))
}

/** RFC 9110 §7.6.2: how often an OPTIONS may still be forwarded; null: as often as it takes. */
export function forwardsLeft({ method, fields }: WebRequest): number | null {
  if (method !== 'OPTIONS') return null
  const hops = contentLengthOf(joined(fields, 'max-forwards', ','))
  return hops === null || hops === NO_CONTENT_LENGTH ? null : hops
}

/** How often the request has been here. */
export function timesSeen(fields: readonly Field[]): number {
  return joined(fields, 'via', ',')?.match(OURSELVES)?.length ?? 0
}

/** The value of a field, which may stand in several lines; null if it is in none. */
export function joined(fields: readonly Field[], wanted: string, separator: string): string | null {
  let text: string | null = null
  for (const [name, value] of fields) if (name === wanted) text = text === null ? value : `${text}${separator}${value}`
  return text
}
