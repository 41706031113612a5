import * as z from 'zod'
import { acme } from './acme-form.ts'
import { parseHostName, parseOrigin, parsePublicAddress, parseResolver } from './addresses.ts'
import { certificates } from './certificate-form.ts'
import { type LogLevel, type QueryLogConfig, STRATEGIES } from './config.ts'
import {
  choice,
  count,
  distinct,
  duration,
  durationOrNone,
  filePath,
  memoryOrAuto,
  memoryOrNone,
  section,
  settings,
  text,
  toggle,
  wholeNumber,
  word,
} from './fields.ts'
import {
  CACHE_MEMORY,
  CONNECTIONS,
  CONNECTIONS_PER_CLIENT,
  DRAIN_TIMEOUT_MS,
  HANDSHAKE_TIMEOUT_MS,
  HANDSHAKES_PER_SECOND,
  HTTP_IDLE_MS,
  IN_FLIGHT_PER_CLIENT,
  IN_FLIGHT_PER_CONNECTION,
  PROCESS_MEMORY,
  PUBLIC_PORT_RANGE,
  QUERIES_PER_SECOND,
  QUERY_TIMEOUT_MS,
  QUIC_IDLE_MS,
  SERVE_STALE_MS,
  STREAM_IDLE_MS,
  UDP_PER_SECOND,
  UDP_SLIP,
  WORKERS,
} from './knobs.ts'
import { access, checkCleartext, listen } from './listen-form.ts'
import { checkRoutes, routes } from './route-form.ts'
import { upstreams } from './upstream-form.ts'

/** What zod makes of the operator's form; complete.ts turns it into a Config. */
export type ConfigForm = z.output<typeof configSchema>

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const satisfies readonly LogLevel[]

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
      doq: wholeNumber(PUBLIC_PORT_RANGE).optional().describe('port of DNS over QUIC: 1 to 65535; by default that of the listener'),
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

const cache = settings({
  memory: memoryOrNone(CACHE_MEMORY, 'memory for answers, which all workers share'),
  serveStale: durationOrNone(SERVE_STALE_MS, 'how long after its TTL an answer is given while no upstream answers'),
  prefetch: toggle(true, 'whether answers that are asked for are fetched anew before they expire'),
  persist: toggle(false, 'whether the cache outlives a restart, in the state directory: it says what was asked'),
})

const workers = z
  .union([z.literal('auto'), wholeNumber(WORKERS)], { error: `expected "auto" or a whole number from ${WORKERS.min} to ${WORKERS.max}` })
  .prefault('auto')
  .describe(`threads that serve: auto (one a core, at most ${WORKERS.default}) or ${WORKERS.min} to ${WORKERS.max}`)

const limits = settings({
  connections: count(CONNECTIONS, 'connections of all clients together'),
  connectionsPerClient: count(CONNECTIONS_PER_CLIENT, 'connections of one client address, all transports together'),
  handshakesPerSecond: count(HANDSHAKES_PER_SECOND, 'TLS handshakes of one client; 0 for no limit'),
  inFlightPerClient: count(IN_FLIGHT_PER_CLIENT, 'queries of one client that wait for upstreams'),
  inFlightPerConnection: count(IN_FLIGHT_PER_CONNECTION, 'unanswered queries of one connection, which is then no longer read'),
  queriesPerSecond: count(QUERIES_PER_SECOND, 'queries of one client, all transports together; 0 for no limit'),
  exempt: access
    .prefault(['loopback', 'private'])
    .describe('for whom queriesPerSecond and handshakesPerSecond do not hold: words, CIDRs, addresses'),
  udp: section(
    settings({
      perSecond: count(UDP_PER_SECOND, 'answers to one client that has no cookie of ours; 0 for no limit'),
      slip: count(UDP_SLIP, 'of those that are too many, every so manieth is told to ask over TCP; 0: none'),
      exempt: access.prefault(['loopback', 'private']).describe('whose addresses nobody forges: words, CIDRs, addresses'),
    }),
    'what is sent over UDP to addresses that may be forged',
  ),
  memory: memoryOrAuto(PROCESS_MEMORY, 'memory of the process beyond which nobody new is let in'),
  idle: section(
    settings({
      stream: duration(STREAM_IDLE_MS, 'after this long without a query a TCP or DoT connection is closed'),
      http: duration(HTTP_IDLE_MS, 'after this long without a request an HTTP connection is closed'),
      quic: duration(QUIC_IDLE_MS, 'after this long without a query a QUIC connection, HTTP/3 too, is closed'),
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
      encrypted: access.prefault(['any']).describe('who may use DNS over HTTPS, TLS and QUIC: loopback, private, any, CIDRs, addresses'),
      tokens: section(
        settings({
          file: filePath('a file')
            .optional()
            .describe('file with whose each token is and its SHA-256 (atlas-dns token); by default nobody needs one'),
        }),
        'tokens that DNS over HTTPS and TLS need besides, as last path segment or first label of the host name',
      ),
    }),
    'who may ask',
  ),
  doh: section(
    settings({
      paths: dohPaths.prefault(['/dns-query']).describe('URL paths of DNS over HTTPS'),
      http3: toggle(true, 'whether HTTP/3 is served besides, on the UDP ports of the same numbers'),
      json: toggle(true, 'whether GET with ?name= and ?type= is answered in JSON'),
      proxy: text('expected "http://host:port" or "https://host:port", without user and path', { parse: parseOrigin })
        .optional()
        .describe('web server for all other paths: "http://host:port" or "https://host:port"; no default'),
      trustedProxies: access
        .prefault([])
        .describe('proxies in front that say for whom they ask (X-Forwarded-For, Forwarded): words, CIDRs, addresses'),
      landing: toggle(true, 'whether browsers are shown a page at /, unless DNS is served there'),
    }),
    'DNS over HTTPS',
  ),
  tls: section(
    settings({
      certificates: certificates
        .prefault([])
        .describe('certificates, the first for clients that name no host; by default one of a local CA'),
      acme: acme.describe('certificates by ACME (RFC 8555): a map of names, directory, email, challenge …, or a list of them; no default'),
      minVersion: choice(['1.2', '1.3'], ', in quotes').prefault('1.3').describe('lowest version of TLS, in quotes: "1.2" or "1.3"'),
      ticketKeys: section(
        settings({
          file: filePath('a file')
            .optional()
            .describe('file with keys, 96 hexadecimal digits a line, the first in use; by default the gateway has its own'),
        }),
        'keys of session tickets, for several gateways behind one name',
      ),
    }),
    'TLS of the listeners',
  ),
  state: filePath('a directory').prefault('./state').describe('directory of the files that the gateway keeps, made when missing'),
  upstreams: upstreams.optional().describe('servers to ask, URLs or { name, url, … }; by default the resolvers of /etc/resolv.conf'),
  routes: routes
    .prefault([])
    .describe('names that are asked of certain upstreams instead of all: { suffix, upstreams }; the longest suffix wins'),
  strategy: choice(STRATEGIES)
    .prefault('ordered')
    .describe(
      'which upstream is asked: ordered (the first that works), round-robin, weighted, fastest, race (two, when one is late) or hash (by name)',
    ),
  bootstrap: z
    .array(text('expected an IP address, or "ip:port"', { parse: parseResolver }), { error: 'expected a list of IP addresses' })
    .min(1, { error: 'expected at least one address; leave "bootstrap" out to ask the resolvers of /etc/resolv.conf' })
    .optional()
    .describe('plain DNS resolvers for the host names of upstreams; by default those of /etc/resolv.conf'),
  timeouts: section(
    settings({
      query: duration(QUERY_TIMEOUT_MS, 'how long a client waits for its answer'),
      handshake: duration(HANDSHAKE_TIMEOUT_MS, 'how long a TLS handshake or a connection to an upstream may take'),
      drain: duration(DRAIN_TIMEOUT_MS, 'how long a stopping gateway finishes what it has begun'),
    }),
    'how long things may take',
  ),
  cache: section(cache, 'answers that are kept'),
  edns: section(
    settings({
      padding: toggle(true, 'pad encrypted answers (RFC 8467)'),
      cookies: toggle(true, 'answer DNS cookies (RFC 7873), by which clients show that their address is theirs'),
      clientSubnet: choice(['off', 'forward', 'add'])
        .prefault('off')
        .describe(
          'what upstreams learn of a client’s network, at most /24 or /56 (RFC 7871); off: nothing; forward: what it says itself; add: that, or else its address’s',
        ),
    }),
    'EDNS options',
  ),
  limits: section(limits, 'what one client may use'),
  workers,
  log: section(
    settings({
      level: choice(LOG_LEVELS).prefault('info').describe('lowest level that is logged'),
      queries: queryLog.prefault('none').describe('which queries are logged: none, errors, all or a share of them as sample:0.01'),
    }),
    'the log, on standard error',
  ),
})
  .superRefine(checkRoutes)
  .superRefine(checkCleartext)

/** The operator's form. Every key is optional; its output is complete but for what has no default. */
export const configSchema = section(root, 'Configuration of the Atlas DNS Gateway')

function parseQueryLog(value: string): QueryLogConfig | null {
  if (!QUERY_LOG.test(value)) return null
  if (value === 'errors') return { kind: 'errors' }
  const share = value === 'none' ? 0 : value === 'all' ? 1 : Number(value.slice('sample:'.length))
  return { kind: 'share', share }
}
