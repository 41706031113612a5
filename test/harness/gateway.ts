import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Logger, pino } from 'pino'
import type { ReloadOutcome } from '../../gateway/admin/control.ts'
import type { UpstreamUrl } from '../../gateway/config/addresses.ts'
import type { Config, ListenConfig, UpstreamConfig } from '../../gateway/config/config.ts'
import { DataPlane, type WorkerSetup } from '../../gateway/data-plane.ts'
import { type Gateway, type GatewayOptions, startGateway } from '../../gateway/gateway.ts'
import type { Launcher, WorkerHandle } from '../../gateway/workers/protocol.ts'
import { type Endpoint, type Prefix, parsePrefix } from '../../net/address.ts'

/** A running gateway on ports that the kernel chose. */
export interface TestGateway extends AsyncDisposable {
  readonly gateway: Gateway
  /** With these settings in place of those before. */
  reload(changes: Partial<Config>, options?: { dryRun?: boolean }): Promise<ReloadOutcome>
  /** The state directory. */
  readonly state: string
  readonly ca: string
  /** What its clients show, as PEM; undefined: nothing. */
  readonly credentials?: { readonly cert: string; readonly key: string }
  readonly dns: Endpoint
  readonly dot: Endpoint
  readonly doq: Endpoint
  readonly doh: Endpoint
  readonly admin: Endpoint
  /** Log lines so far. */
  readonly log: string[]
}

const LOOPBACK: readonly ListenConfig[] = [
  { endpoint: { host: '127.0.0.1', port: 0 }, access: null, proxyProtocol: null, clientCa: null, cleartext: false, byDefault: false },
]

/** The defaults, but for what depends on the machine and on its other tests. */
export const LIMITS: Config['limits'] = {
  connections: 20_000,
  connectionsPerClient: 100,
  handshakesPerSecond: 0,
  inFlightPerClient: 4_000,
  inFlightPerConnection: 100,
  queriesPerSecond: 0,
  exempt: [],
  udp: { perSecond: 100, slip: 2, exempt: prefixes('127.0.0.0/8', '::1') },
  memory: 2 ** 40,
  idle: { streamMs: 30_000, httpMs: 60_000, quicMs: 30_000 },
}

export const TLS: Config['tls'] = { certificates: [], minVersion: 'TLSv1.3', acme: [], ticketKeyFile: null }

export function prefixes(...texts: string[]): readonly Prefix[] {
  return texts.map((text) => {
    const prefix = parsePrefix(text)
    if (prefix === null) throw new RangeError(`Cannot parse prefix: received ${text}`)
    return prefix
  })
}

/** An upstream of one URL. */
export function upstreamConfig(
  { host, port }: Endpoint,
  { protocol = 'udp', path = '', ...rest }: Partial<UpstreamConfig & UpstreamUrl> = {},
): UpstreamConfig {
  return {
    name: 'upstream',
    urls: [{ protocol, host, port, path }],
    serverName: null,
    ca: null,
    pins: [],
    clientCertificate: null,
    weight: 1,
    connections: 16,
    pipelining: 200,
    maxAgeMs: 3_600_000,
    idleMs: 30_000,
    source: null,
    socks: null,
    randomizeCase: false,
    origin: 'test',
    ...rest,
  }
}

export function testConfig(upstreams: readonly Endpoint[], rest: Partial<Config> = {}): Config {
  return {
    listen: {
      dns: LOOPBACK,
      dot: LOOPBACK,
      doq: LOOPBACK,
      doh: LOOPBACK,
      admin: { endpoint: { host: '127.0.0.1', port: 0 }, tokenFile: null, hosts: [] },
    },
    public: { name: null, addresses: [], ports: { doh: null, dot: null, doq: null } },
    access: { dns: prefixes('127.0.0.0/8'), encrypted: prefixes('0.0.0.0/0', '::/0'), tokenFile: null },
    doh: { paths: ['/dns-query'], http3: true, json: true, landing: true, proxy: null, trustedProxies: [] },
    tls: TLS,
    state: '',
    upstreams: upstreams.map((endpoint, i) => upstreamConfig(endpoint, { name: `upstream${i}` })),
    bootstrap: null,
    routes: [],
    strategy: 'ordered',
    timeouts: { queryMs: 4000, handshakeMs: 5000, drainMs: 10_000 },
    cache: { memory: 0, serveStaleMs: 0, prefetch: false, persist: false },
    workers: 1,
    edns: { padding: true, cookies: true, clientSubnet: 'off' },
    limits: LIMITS,
    log: { level: 'info', queries: { kind: 'share', share: 0 } },
    ...rest,
  }
}

/** A data plane without a thread: tests of what it does need none. */
export function inThisThread(log: Logger): Launcher {
  const launch = (setup: WorkerSetup): WorkerHandle => {
    const plane = new DataPlane(setup, log)
    const ended = Promise.withResolvers<Error | null>()
    const started = plane.start().then(() => plane.facts)
    started.catch((error: Error) => ended.resolve(error))
    return {
      started,
      ended: ended.promise,
      tell: (command) => plane.execute(command),
      terminate: async () => {
        await plane.close()
        ended.resolve(null)
      },
    }
  }
  return { launch, prepare() {}, async close() {} }
}

export async function runGateway(
  upstreams: readonly Endpoint[],
  rest: Partial<Config> = {},
  options: Partial<GatewayOptions> = {},
): Promise<TestGateway> {
  const state = mkdtempSync(join(tmpdir(), 'atlas-test-'))
  const log: string[] = []
  const config = testConfig(upstreams, { state, ...rest })
  let next = config
  const logger = pino({ level: 'debug', base: null }, { write: (line: string) => void log.push(line) })
  const source = { file: null, load: () => ({ config: next, warnings: [] }) }
  const gateway = await startGateway(config, logger, { launcher: inThisThread(logger), source, probing: null, ...options })
  const { endpoints, admin } = gateway.facts
  const nowhere: Endpoint = { host: '127.0.0.1', port: 0 }
  return {
    gateway,
    async reload(changes, { dryRun = false } = {}) {
      next = { ...next, ...changes }
      return gateway.reload({ dryRun })
    },
    state,
    log,
    ca: gateway.facts.localCa === null ? '' : readFileSync(gateway.facts.localCa.path, 'utf8'),
    dns: endpoints.dns[0] ?? nowhere,
    dot: endpoints.dot[0] ?? nowhere,
    doq: endpoints.doq[0] ?? nowhere,
    doh: endpoints.doh[0] ?? nowhere,
    admin: admin ?? nowhere,
    async [Symbol.asyncDispose]() {
      await gateway.close()
      rmSync(state, { recursive: true, force: true })
    },
  }
}
