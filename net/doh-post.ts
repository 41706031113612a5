import type { Field } from './fields.ts'

/** RFC 8484 §6. */
export const DNS_MESSAGE = 'application/dns-message'

/** Pseudo-fields of a request for `url` in HTTP/2 and HTTP/3 (RFC 9113 §8.3.1, RFC 9114 §4.3.1). */
export function targetFields(method: 'GET' | 'POST', url: URL): readonly Field[] {
  return [
    [':method', method],
    [':scheme', 'https'],
    [':authority', url.host],
    [':path', `${url.pathname}${url.search}`],
  ]
}

/** The header section of a POST with a message of `length` octets (RFC 8484 §4.1). Some servers refuse one without content-length. */
export function postFields(url: URL, length: number): readonly Field[] {
  return [...targetFields('POST', url), ['accept', DNS_MESSAGE], ['content-type', DNS_MESSAGE], ['content-length', String(length)]]
}

/** Whether a content-type is that of a DNS message, whatever its parameters. */
export function isDnsMessage(contentType: string | null): boolean {
  if (contentType === DNS_MESSAGE) return true
  const [essence = ''] = (contentType ?? '').split(';')
  return essence.trim().toLowerCase() === DNS_MESSAGE
}
