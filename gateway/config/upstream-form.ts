import * as z from 'zod'
import { formatEndpoint } from '../../net/address.ts'
import { parseHostName, parseUpstreamUrl, UPSTREAM_PATTERN, type UpstreamUrl } from './addresses.ts'
import { distinct, filePath, settings, text, word } from './fields.ts'

/** One entry of `upstreams`. */
export interface UpstreamForm extends UpstreamUrl {
  readonly name: string
  readonly serverName?: string | undefined
  readonly ca?: string | undefined
  readonly pins?: readonly string[] | undefined
}

const url = text('expected udp://ip[:port], tcp://ip[:port] or tls://ip[:port]', {
  pattern: UPSTREAM_PATTERN,
  parse: (value) => {
    const upstream = parseUpstreamUrl(value)
    return upstream === null ? null : { ...upstream, name: formatEndpoint(upstream.endpoint) }
  },
})

const PIN = /^[A-Za-z0-9+/]{43}=$/
const pin = text('expected the base64 of a SHA-256: 44 characters', { pattern: PIN, parse: parsePin })

const TLS_ONLY = ['serverName', 'ca', 'pins'] as const

const entry = settings({
  name: word('expected a name of 1 to 64 letters, digits and ".", "-", "_", ":", "[", "]"', /^[\w.:[\]-]{1,64}$/)
    .optional()
    .describe('its name in metrics and logs, unique; by default host:port of the URL'),
  url: url.describe('udp://ip[:port], tcp://ip[:port] or tls://ip[:port]; the port is 53 by default, 853 with tls'),
  serverName: text('expected a host name', { parse: parseHostName })
    .optional()
    .describe('tls only: the name in the certificate of the server; by default its address'),
  ca: filePath('a PEM file').optional().describe('tls only: PEM file with the roots to trust in place of the usual ones'),
  pins: z
    .array(pin, { error: 'expected a list of base64 SHA-256 hashes' })
    .min(1, { error: 'expected at least one pin' })
    .optional()
    .describe('tls only: base64 SHA-256 of acceptable public keys (RFC 7858 §4.2); alone, they replace roots and name'),
}).superRefine((form, context) => {
  if (form.url.protocol === 'tls') return
  for (const key of TLS_ONLY) {
    if (form[key] !== undefined) context.addIssue({ code: 'custom', path: [key], message: 'expected only beside a tls:// url' })
  }
})

const upstream = z.union([url, entry.transform(({ name, url, ...rest }): UpstreamForm => ({ ...url, ...rest, name: name ?? url.name }))], {
  error: 'expected udp://ip[:port], tcp://ip[:port], tls://ip[:port] or a map of name and url',
})

export const upstreams = z
  .array(upstream, { error: 'expected a list of upstreams' })
  .min(1, { error: 'expected at least one upstream; leave "upstreams" out to ask the resolvers of /etc/resolv.conf' })
  .superRefine(distinct('expected a name of its own', { path: ['upstreams'], keyOf: ({ name }) => name }))

/** RFC 7858 §4.2, RFC 7469 §2.4. One hash has one form: no spare bits. */
function parsePin(value: string): string | null {
  return PIN.test(value) && Buffer.from(value, 'base64').toString('base64') === value ? value : null
}
