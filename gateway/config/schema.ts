import * as z from 'zod'
import { type Endpoint, formatEndpoint, parseEndpoint } from '../../net/address.ts'
import { parseAccess, parseHostName, parsePublicAddress, parseUpstreamUrl, socketKey, UPSTREAM_PATTERN } from './addresses.ts'
import type { LogLevel, QueryLogConfig } from './config.ts'
import { choice, count, distinct, duration, filePath, section, settings, text, wholeNumber, word } from './fields.ts'
import {
  CONNECTIONS_PER_CLIENT,
  DRAIN_TIMEOUT_MS,
  HANDSHAKE_TIMEOUT_MS,
  HTTP_IDLE_MS,
  IN_FLIGHT_PER_CONNECTION,
  PUBLIC_PORT_RANGE,
  QUERY_TIMEOUT_MS,
  STREAM_IDLE_MS,
} from './knobs.ts'

/** What zod makes of the operator's form; complete.ts turns it into a Config. */
export type ConfigForm = z.output<typeof configSchema>

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const satisfies readonly LogLevel[]

const endpoint = text('expected "host:port" with an IP address', { parse: parseEndpoint })

const access = z.array(text('expected "loopback", "private", "any", an IP address or a CIDR without host bits', { parse: parseAccess }), {
  error: 'expected a list of "loopback", "private", "any", IP addresses and CIDRs',
})

const listener = z.union(
  [
    endpoint.transform((address) => ({ address, access: undefined })),
    settings({
      address: endpoint.describe('"host:port" with an IP address'),
      access: access.optional().describe('who may connect here, in place of the general list: words, CIDRs, addresses'),
    }),
  ],
  { error: 'expected "host:port" with an IP address, or a map of address and access' },
)

const listeners = z.array(listener, { error: 'expected a list of "host:port"' })

const listen = settings({
  doh: listeners
    .prefault(['127.0.0.1:8443', '[::1]:8443'])
    .describe('DNS over HTTPS: "host:port" or { address, access }; port 0: the kernel picks; []: off'),
  dot: listeners
    .prefault(['127.0.0.1:8853', '[::1]:8853'])
    .describe('DNS over TLS: "host:port" or { address, access }; port 0: the kernel picks; []: off'),
  dns: listeners
    .prefault(['127.0.0.1:8053', '[::1]:8053'])
    .describe('plain DNS over UDP and TCP: "host:port" or { address, access }; port 0: the kernel picks; []: off'),
  admin: z
    .union([text('expected "host:port" with an IP address, or false', { parse: parseEndpoint }), z.literal(false)], {
      error: 'expected "host:port" with an IP address, or false',
    })
    .prefault('127.0.0.1:9353')
    .describe('GET /metrics /healthz /readyz, without authentication: "host:port", or false for none'),
}).superRefine(checkListeners)

const publicFacts = settings({
  name: text('expected a host name', { parse: parseHostName })
    .optional()
    .describe('host name by which clients reach the gateway; no default'),
  addresses: z
    .array(text('expected an IP address', { parse: parsePublicAddress }), { error: 'expected a list of IP addresses' })
    .prefault([])
    .describe('IP addresses by which clients reach the gateway'),
  ports: section(
    settings({
      doh: wholeNumber(PUBLIC_PORT_RANGE).optional().describe('port of DNS over HTTPS: 1 to 65535; by default that of the listener'),
      dot: wholeNumber(PUBLIC_PORT_RANGE).optional().describe('port of DNS over TLS: 1 to 65535; by default that of the listener'),
    }),
    'ports as clients see them',
  ),
})

const DOH_PATH = /^(?!.*\.\.)(?!.*\/\.(?:\/|$))\/(?:[\w.~-]+(?:\/[\w.~-]+)*\/?)?$/
const dohPaths = z
  .array(word('expected a path of letters, digits, "-", "_", ".", "~" that begins with "/", without "//" and ".."', DOH_PATH), {
    error: 'expected a list of URL paths',
  })
  .min(1, { error: 'expected at least one path' })
  .superRefine(distinct('expected each path only once', { path: ['doh', 'paths'], keyOf: (path) => path }))

const certificate = settings({
  cert: filePath('a PEM file').describe('PEM file: the certificate, then its intermediates'),
  key: filePath('a PEM file').describe('PEM file: the private key'),
})

const upstreamUrl = text('expected udp://ip[:port] or tcp://ip[:port]', {
  pattern: UPSTREAM_PATTERN,
  parse: (url) => {
    const upstream = parseUpstreamUrl(url)
    return upstream === null ? null : { ...upstream, name: formatEndpoint(upstream.endpoint) }
  },
})
const upstreamName = word('expected a name of 1 to 64 letters, digits and ".", "-", "_", ":", "[", "]"', /^[\w.:[\]-]{1,64}$/)
const upstream = z.union(
  [
    upstreamUrl,
    settings({
      name: upstreamName.optional().describe('its name in metrics and logs, unique; by default host:port of the URL'),
      url: upstreamUrl.describe('udp://ip[:port] or tcp://ip[:port]; the port is 53 by default'),
    }).transform(({ name, url }) => ({ ...url, name: name ?? url.name })),
  ],
  { error: 'expected udp://ip[:port], tcp://ip[:port] or a map of name and url' },
)
const upstreams = z
  .array(upstream, { error: 'expected a list of upstreams' })
  .min(1, { error: 'expected at least one upstream; leave "upstreams" out to ask the resolvers of /etc/resolv.conf' })
  .superRefine(distinct('expected a name of its own', { path: ['upstreams'], keyOf: ({ name }) => name }))

const limits = settings({
  connectionsPerClient: count(CONNECTIONS_PER_CLIENT, 'connections of one client address, all transports together'),
  inFlightPerConnection: count(IN_FLIGHT_PER_CONNECTION, 'unanswered queries of one connection, which is then no longer read'),
  idle: section(
    settings({
      stream: duration(STREAM_IDLE_MS, 'after this long without a query a TCP or DoT connection is closed'),
      http: duration(HTTP_IDLE_MS, 'after this long without a request an HTTP connection is closed'),
    }),
    'how long idle connections stay open',
  ),
})

const QUERY_LOG = /^(?:none|errors|all|sample:(?:0|1|0\.\d{1,9}|1\.0{1,9}))$/
const queryLog = text('expected "none", "errors", "all" or "sample:" and a share from 0 to 1', { pattern: QUERY_LOG, parse: parseQueryLog })

const root = settings({
  listen: section(listen, 'addresses the gateway listens on; 0.0.0.0 and [::] stand for all'),
  public: section(publicFacts, 'how clients reach the gateway, where that differs from the listeners'),
  access: section(
    settings({
      dns: access.prefault(['loopback', 'private']).describe('who may use plain DNS: loopback, private, any, CIDRs, addresses'),
      encrypted: access.prefault(['any']).describe('who may use DNS over HTTPS and TLS: loopback, private, any, CIDRs, addresses'),
    }),
    'who may ask',
  ),
  doh: section(settings({ paths: dohPaths.prefault(['/dns-query']).describe('URL paths of DNS over HTTPS') }), 'DNS over HTTPS'),
  tls: section(
    settings({
      certificates: z
        .array(certificate, { error: 'expected a list of { cert, key }' })
        .prefault([])
        .describe('certificates, the first for clients that name no host; by default one of a local CA'),
      minVersion: choice(['1.2', '1.3'], ', in quotes').prefault('1.3').describe('lowest version of TLS, in quotes: "1.2" or "1.3"'),
    }),
    'TLS of the listeners',
  ),
  state: filePath('a directory').prefault('./state').describe('directory of the files that the gateway keeps, made when missing'),
  upstreams: upstreams.optional().describe('servers to ask, URLs or { name, url }; by default the resolvers of /etc/resolv.conf'),
  strategy: choice(['ordered']).prefault('ordered').describe('which upstream is asked; ordered: the first that works'),
  timeouts: section(
    settings({
      query: duration(QUERY_TIMEOUT_MS, 'how long a client waits for its answer'),
      handshake: duration(HANDSHAKE_TIMEOUT_MS, 'how long a TLS handshake or a connection to an upstream may take'),
      drain: duration(DRAIN_TIMEOUT_MS, 'how long a stopping gateway finishes what it has begun'),
    }),
    'how long things may take',
  ),
  edns: section(
    settings({
      padding: z.boolean({ error: 'expected true or false' }).prefault(true).describe('pad encrypted answers (RFC 8467)'),
      clientSubnet: choice(['off']).prefault('off').describe('EDNS Client Subnet towards upstreams; off: never sent'),
    }),
    'EDNS options',
  ),
  limits: section(limits, 'what one client may use'),
  log: section(
    settings({
      level: choice(LOG_LEVELS).prefault('info').describe('lowest level that is logged'),
      queries: queryLog.prefault('none').describe('which queries are logged: none, errors, all or a share of them as sample:0.01'),
    }),
    'the log, on standard error',
  ),
})

/** The operator's form. Every key is optional; its output is complete but for what has no default. */
export const configSchema = section(root, 'Configuration of the Atlas DNS Gateway')

function parseQueryLog(value: string): QueryLogConfig | null {
  if (!QUERY_LOG.test(value)) return null
  if (value === 'errors') return { kind: 'errors' }
  const share = value === 'none' ? 0 : value === 'all' ? 1 : Number(value.slice('sample:'.length))
  return { kind: 'share', share }
}

interface ListenForm {
  readonly doh: readonly { readonly address: Endpoint }[]
  readonly dot: readonly { readonly address: Endpoint }[]
  readonly dns: readonly { readonly address: Endpoint }[]
  readonly admin: Endpoint | false
}

/** All listeners use TCP (dns uses UDP besides), so none may share its address with another. */
function checkListeners({ doh, dot, dns, admin }: ListenForm, context: z.core.$RefinementCtx<ListenForm>): void {
  if (doh.length + dot.length + dns.length === 0) {
    const params = { received: 'empty lists' }
    context.addIssue({ code: 'custom', message: 'expected at least one address in doh, dot or dns', params })
  }
  const all = Object.entries({ doh, dot, dns }).flatMap(([kind, list]) => list.map(({ address }, i) => ({ address, path: [kind, i] })))
  const taken = new Map<string, (string | number)[]>()
  for (const { address, path } of [...all, ...(admin === false ? [] : [{ address: admin, path: ['admin'] }])]) {
    const key = socketKey(address)
    const other = key === null ? undefined : taken.get(key)
    if (key !== null && other === undefined) taken.set(key, path)
    if (other === undefined) continue
    const params = { received: JSON.stringify(formatEndpoint(address)), clashesWith: ['listen', ...other] }
    context.addIssue({ code: 'custom', path, message: 'expected an address and port of its own', params })
  }
}
