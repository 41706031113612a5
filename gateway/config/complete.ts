import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import type { Config, ListenConfig, UpstreamConfig } from './config.ts'
import { PROCESS_MEMORY, WORKERS } from './knobs.ts'
import { type Located, nodeAt, originOf, type Path } from './located.ts'
import type { ConfigForm } from './schema.ts'
import type { UpstreamForm } from './upstream-form.ts'

/**
 * The form as the gateway uses it: relative paths made absolute, origins noted, frozen to the last object. `cwd` is what the
 * default of a path is relative to.
 */
export function completeConfig(form: ConfigForm, { written, cwd }: { written: Located; cwd: string }): Config {
  const absolute = (path: string, at: Path): string => resolve(nodeAt(written, at)?.origin.directory ?? cwd, path)
  const { listen, timeouts, limits } = form
  const { tokens } = form.access
  const listenersOf = (kind: 'doh' | 'dot' | 'doq' | 'dns'): readonly ListenConfig[] => {
    const byDefault = nodeAt(written, ['listen', kind]) === null
    return listen[kind].map((entry) => ({
      endpoint: entry.address,
      access: entry.access?.flat() ?? null,
      cleartext: entry.cleartext ?? false,
      proxyProtocol: entry.proxyProtocol?.flat() ?? null,
      byDefault,
    }))
  }
  const adminOf = (admin: ConfigForm['listen']['admin']): Config['listen']['admin'] => {
    if (admin === false) return null
    const { address, tokenFile, hosts } = admin
    return { endpoint: address, tokenFile: tokenFile === undefined ? null : absolute(tokenFile, ['listen', 'admin', 'tokenFile']), hosts }
  }
  return deepFreeze({
    listen: {
      doh: listenersOf('doh'),
      dot: listenersOf('dot'),
      doq: listenersOf('doq'),
      dns: listenersOf('dns'),
      admin: adminOf(listen.admin),
    },
    public: {
      name: form.public.name ?? null,
      addresses: form.public.addresses,
      ports: { doh: form.public.ports.doh ?? null, dot: form.public.ports.dot ?? null, doq: form.public.ports.doq ?? null },
    },
    access: {
      dns: form.access.dns.flat(),
      encrypted: form.access.encrypted.flat(),
      tokenFile: tokens.file === undefined ? null : absolute(tokens.file, ['access', 'tokens', 'file']),
    },
    doh: { ...form.doh, proxy: form.doh.proxy ?? null, trustedProxies: form.doh.trustedProxies.flat() },
    tls: {
      certificates: form.tls.certificates.map(({ cert, key }, i) => {
        const at = ['tls', 'certificates', i]
        return { cert: absolute(cert, [...at, 'cert']), key: absolute(key, [...at, 'key']), origin: originOf(written, at).where }
      }),
      minVersion: `TLSv${form.tls.minVersion}`,
    },
    state: absolute(form.state, ['state']),
    upstreams: form.upstreams?.map((upstream, i) => upstreamOf(upstream, ['upstreams', i], { written, absolute })) ?? null,
    routes: form.routes,
    strategy: form.strategy,
    bootstrap: form.bootstrap ?? null,
    timeouts: { queryMs: timeouts.query, handshakeMs: timeouts.handshake, drainMs: timeouts.drain },
    cache: {
      memory: form.cache.memory,
      serveStaleMs: form.cache.serveStale,
      prefetch: form.cache.prefetch,
      persist: form.cache.persist,
    },
    edns: form.edns,
    limits: {
      connections: limits.connections,
      connectionsPerClient: limits.connectionsPerClient,
      handshakesPerSecond: limits.handshakesPerSecond,
      inFlightPerClient: limits.inFlightPerClient,
      inFlightPerConnection: limits.inFlightPerConnection,
      queriesPerSecond: limits.queriesPerSecond,
      exempt: limits.exempt.flat(),
      udp: { ...limits.udp, exempt: limits.udp.exempt.flat() },
      memory: limits.memory === 'auto' ? PROCESS_MEMORY.default : limits.memory,
      idle: { streamMs: limits.idle.stream, httpMs: limits.idle.http, quicMs: limits.idle.quic },
    },
    workers: form.workers === 'auto' ? Math.min(availableParallelism(), WORKERS.default) : form.workers,
    log: form.log,
  })
}

interface Surroundings {
  readonly written: Located
  /** The absolute form of a path that was written there. */
  absolute(path: string, at: Path): string
}

function upstreamOf(form: UpstreamForm, at: Path, { written, absolute }: Surroundings): UpstreamConfig {
  const { ca, clientCertificate: own } = form
  const [caAt, ownAt] = [
    [...at, 'ca'],
    [...at, 'clientCertificate'],
  ]
  return {
    name: form.name,
    urls: form.urls,
    serverName: form.serverName ?? null,
    ca: ca === undefined ? null : { file: absolute(ca, caAt), origin: originOf(written, caAt).where },
    pins: form.pins ?? [],
    clientCertificate:
      own === undefined
        ? null
        : {
            cert: absolute(own.cert, [...ownAt, 'cert']),
            key: absolute(own.key, [...ownAt, 'key']),
            origin: originOf(written, ownAt).where,
          },
    weight: form.weight,
    connections: form.connections,
    pipelining: form.pipelining,
    maxAgeMs: form.maxAge,
    idleMs: form.idle,
    source: form.source ?? null,
    socks: form.socks ?? null,
    randomizeCase: form.randomizeCase,
    origin: originOf(written, at).where,
  }
}

function deepFreeze<T>(value: T): T {
  // the octets of an address cannot be frozen (ECMAScript §10.4.5.3); their types say that nobody writes to them
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
  for (const inner of Object.values(value)) deepFreeze(inner)
  return Object.freeze(value)
}
