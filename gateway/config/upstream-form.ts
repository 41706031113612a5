import { isIPv6 } from 'node:net'
import * as z from 'zod'
import { type Endpoint, formatEndpoint, isWildcard, parseAddress, parseEndpoint } from '../../net/address.ts'
import {
  formatUpstreamUrl,
  parseHostName,
  parsePublicAddress,
  parseUpstreamUrl,
  UPSTREAM_PATTERN,
  type UpstreamProtocol,
  type UpstreamUrl,
} from './addresses.ts'
import { count, distinct, duration, filePath, settings, text, toggle, word } from './fields.ts'
import {
  MAX_UPSTREAM_NAME,
  MAX_UPSTREAM_URLS,
  MAX_UPSTREAMS,
  UPSTREAM_CONNECTIONS,
  UPSTREAM_IDLE_MS,
  UPSTREAM_MAX_AGE_MS,
  UPSTREAM_PIPELINING,
  UPSTREAM_PORT_RANGE,
  UPSTREAM_WEIGHT,
} from './knobs.ts'

/** One entry of `upstreams`. */
export interface UpstreamForm {
  readonly name: string
  /** Best first. */
  readonly urls: readonly UpstreamUrl[]
  readonly serverName?: string | undefined
  readonly ca?: string | undefined
  readonly pins?: readonly string[] | undefined
  readonly clientCertificate?: { readonly cert: string; readonly key: string } | undefined
  readonly weight: number
  readonly connections: number
  readonly pipelining: number
  readonly maxAge: number
  readonly idle: number
  readonly source?: string | undefined
  readonly socks?: Endpoint | undefined
  readonly randomizeCase: boolean
}

const URL_FORM = 'udp://, tcp://, tls:// or quic:// and host[:port], https:// or h3:// and host[:port][/path]'
const url = text(expectedUrl, { pattern: UPSTREAM_PATTERN, parse: parseUpstreamUrl })
const urls = z.union(
  [
    url.transform((one): readonly UpstreamUrl[] => [one]),
    z
      .array(url)
      .min(1, { error: 'expected at least one URL' })
      .max(MAX_UPSTREAM_URLS, { error: `expected at most ${MAX_UPSTREAM_URLS} URLs` })
      .superRefine(distinct('expected each URL only once', { path: ['url'], keyOf: formatUpstreamUrl })),
  ],
  { error: `expected ${URL_FORM}, or a list of such URLs, best first` },
)

/** What the default, host:port of the URL, is made of: a zone has a %. */
const NAME = new RegExp(`^[\\w.:[\\]%-]{1,${MAX_UPSTREAM_NAME}}$`)

const PIN = /^[A-Za-z0-9+/]{43}=$/
const pin = text('expected the base64 of a SHA-256: 44 characters', { pattern: PIN, parse: parsePin })

const parts = {
  serverName: text('expected a host name', { parse: parseHostName })
    .optional()
    .describe('with TLS: the name in the certificate of the server; by default the host of the URL'),
  ca: filePath('a PEM file').optional().describe('with TLS: PEM file with the roots to trust in place of the usual ones'),
  pins: z
    .array(pin, { error: 'expected a list of base64 SHA-256 hashes' })
    .min(1, { error: 'expected at least one pin' })
    .optional()
    .describe('tls and https: base64 SHA-256 of acceptable public keys (RFC 7858 §4.2); alone, they replace roots and name'),
  clientCertificate: settings({
    cert: filePath('a PEM file').describe('PEM file with our certificate and those above it'),
    key: filePath('a PEM file').describe('PEM file with the private key'),
  })
    .optional()
    .describe('tls and https: what we show a server that wants to know who asks'),
  weight: count(UPSTREAM_WEIGHT, 'its share of the queries, with strategy: weighted'),
  connections: count(UPSTREAM_CONNECTIONS, 'connections to it, of all workers together, at least one of each'),
  pipelining: count(UPSTREAM_PIPELINING, 'questions on their way on one connection before another is opened'),
  maxAge: duration(UPSTREAM_MAX_AGE_MS, 'after this long a connection is exchanged for a new one'),
  idle: duration(UPSTREAM_IDLE_MS, 'after this long without a question a connection is closed'),
  source: text('expected an IP address of this machine', { parse: parsePublicAddress })
    .optional()
    .describe('address of this machine to ask from; by default the system chooses'),
  socks: text('expected "ip:port" of a SOCKS5 proxy', { parse: parseServer })
    .optional()
    .describe('tcp, tls and https: SOCKS5 proxy in between, "ip:port"'),
  randomizeCase: toggle(false, 'udp: whether names are sent in random case (0x20), which forgers have to guess'),
}

type Parts = z.output<z.ZodObject<typeof parts>>
const DEFAULTS: Parts = z.object(parts).parse({})

const entry = settings({
  name: word(`expected a name of 1 to ${MAX_UPSTREAM_NAME} letters, digits and ".", "-", "_", ":", "[", "]", "%"`, NAME)
    .optional()
    .describe('its name in metrics and logs, unique; by default host:port of the URL'),
  url: urls.describe(`${URL_FORM}; or a list, best first`),
  ...parts,
})

type Entry = z.output<typeof entry>

const upstream = z.union(
  [
    url.superRefine(checkLone).transform((one): UpstreamForm => ({ ...DEFAULTS, name: nameOf([one]), urls: [one] })),
    entry.superRefine(checkEntry).transform(({ name, url, ...rest }): UpstreamForm => ({ ...rest, name: name ?? nameOf(url), urls: url })),
  ],
  { error: `expected ${URL_FORM}, or a map of name and url` },
)

export const upstreams = z
  .array(upstream, { error: 'expected a list of upstreams' })
  .min(1, { error: 'expected at least one upstream; leave "upstreams" out to ask the resolvers of /etc/resolv.conf' })
  .max(MAX_UPSTREAMS, { error: `expected at most ${MAX_UPSTREAMS} upstreams` })
  .superRefine(distinct('expected a name of its own', { path: ['upstreams'], keyOf: ({ name }) => name }))

/** What connections there are to an upstream that the operator has said nothing of. */
export const UPSTREAM_DEFAULTS = DEFAULTS

/** What goes together in one entry, and what does not. */
function checkEntry(form: Entry, context: z.core.$RefinementCtx): void {
  const issue = (path: keyof Parts, message: string): void => context.addIssue({ code: 'custom', path: [path], message })
  const has = (...protocols: readonly UpstreamProtocol[]): boolean => form.url.some(({ protocol }) => protocols.includes(protocol))
  const isTls = has('tls', 'https', 'h3', 'quic')
  for (const key of ['serverName', 'ca', 'pins', 'clientCertificate'] as const) {
    if (form[key] !== undefined && !isTls) issue(key, 'expected only beside a tls://, https://, h3:// or quic:// url')
  }
  // the QUIC library shows no certificate, sends none, and verifies names only (docs/quic.md)
  if (has('h3', 'quic')) {
    if (form.pins !== undefined) issue('pins', 'expected no pins beside quic:// and h3://, where they cannot be checked')
    if (form.clientCertificate !== undefined) issue('clientCertificate', 'expected none beside quic:// and h3://, which cannot show it')
    if (form.serverName === undefined && form.url.some(isNamelessQuic)) issue('serverName', NEEDS_NAME)
  }
  if (form.socks !== undefined && has('udp', 'quic', 'h3')) issue('socks', 'expected only tcp://, tls:// and https:// urls beside it')
  if (form.randomizeCase && !has('udp')) issue('randomizeCase', 'expected only beside a udp:// url')
  // whoever is asked: the proxy, if there is one
  const peers = form.socks === undefined ? form.url : [form.socks]
  const { source } = form
  if (source !== undefined && peers.some(({ host }) => isOtherFamily(host, source))) {
    issue('source', `expected an address of the same family as in ${form.socks === undefined ? 'url' : 'socks'}`)
  }
}

const NEEDS_NAME = 'expected the name in the certificate: with quic:// and h3:// an address cannot be verified'

function checkLone(url: UpstreamUrl, context: z.core.$RefinementCtx): void {
  if (!isNamelessQuic(url)) return
  const message = 'expected a host name in it, or a map of url and serverName: with quic:// and h3:// an address cannot be verified'
  context.addIssue({ code: 'custom', message })
}

function isNamelessQuic({ protocol, host }: UpstreamUrl): boolean {
  return (protocol === 'quic' || protocol === 'h3') && parseAddress(host) !== null
}

function isOtherFamily(host: string, source: string): boolean {
  return parseAddress(host) !== null && isIPv6(host) !== isIPv6(source)
}

/** The most frequent mistake has a message of its own. */
function expectedUrl(received: unknown): string {
  const [, scheme, authority = ''] = /^([a-z0-9]+:\/\/)([\da-f:.]+)$/i.exec(String(received)) ?? []
  const isBare = authority.includes(':') && parseAddress(authority) !== null
  return isBare ? `expected brackets around an IPv6 address, as in ${scheme}[2001:db8::1]` : `expected ${URL_FORM}`
}

function parseServer(text: string): Endpoint | null {
  const endpoint = parseEndpoint(text)
  return endpoint === null || endpoint.port < UPSTREAM_PORT_RANGE.min || isWildcard(endpoint.host) ? null : endpoint
}

function nameOf([first]: readonly UpstreamUrl[]): string {
  return first === undefined ? '' : formatEndpoint(first)
}

/** RFC 7858 §4.2, RFC 7469 §2.4. One hash has one form: no spare bits. */
function parsePin(value: string): string | null {
  return PIN.test(value) && Buffer.from(value, 'base64').toString('base64') === value ? value : null
}
