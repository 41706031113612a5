import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import type { AcmeForm } from './acme-form.ts'
import type { CertificateForm } from './certificate-form.ts'
import type { AcmeConfig, AcmeDnsConfig, CertificateConfig, Config, ListenConfig, PemConfig, UpstreamConfig } from './config.ts'
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
  const rootsAt = (file: string, at: Path) => ({ file: absolute(file, at), origin: originOf(written, at).where })
  const { listen, timeouts, limits } = form
  const { tokens } = form.access
  const { ticketKeys } = form.tls
  const listenersOf = (kind: 'doh' | 'dot' | 'doq' | 'dns'): readonly ListenConfig[] => {
    const byDefault = nodeAt(written, ['listen', kind]) === null
    return listen[kind].map((entry, i) => ({
      endpoint: entry.address,
      access: entry.access?.flat() ?? null,
      cleartext: entry.cleartext ?? false,
      proxyProtocol: entry.proxyProtocol?.flat() ?? null,
      clientCa: entry.clientCa === undefined ? null : rootsAt(entry.clientCa, ['listen', kind, i, 'clientCa']),
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
      certificates: form.tls.certificates.map((entry, i) => certificateOf(entry, ['tls', 'certificates', i], { written, absolute })),
      acme: form.tls.acme.map((entry, i) => acmeOf(entry, ['tls', 'acme', i], { written, absolute })),
      minVersion: `TLSv${form.tls.minVersion}`,
      ticketKeyFile: ticketKeys.file === undefined ? null : absolute(ticketKeys.file, ['tls', 'ticketKeys', 'file']),
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

function certificateOf(form: CertificateForm, at: Path, { written, absolute }: Surroundings): CertificateConfig {
  if ('cert' in form) return pemOf(form, at, { written, absolute })
  const { pfx, passwordFile } = form
  return {
    pfx: absolute(pfx, [...at, 'pfx']),
    passwordFile: passwordFile === undefined ? null : absolute(passwordFile, [...at, 'passwordFile']),
    origin: originOf(written, at).where,
  }
}

function pemOf({ cert, key }: { cert: string; key: string }, at: Path, { written, absolute }: Surroundings): PemConfig {
  return { cert: absolute(cert, [...at, 'cert']), key: absolute(key, [...at, 'key']), origin: originOf(written, at).where }
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
    clientCertificate: own === undefined ? null : pemOf(own, ownAt, { written, absolute }),
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

/** A lone map is written as itself, a list by its places. */
function acmeOf(form: AcmeForm, listed: Path, { written, absolute }: Surroundings): AcmeConfig {
  const at = nodeAt(written, listed) === null ? listed.slice(0, -1) : listed
  const { ca, eab } = form
  const [caAt, eabAt] = [
    [...at, 'ca'],
    [...at, 'eab'],
  ]
  return {
    directory: form.directory,
    email: form.email ?? null,
    names: form.names,
    challenge: form.challenge,
    http: form.http,
    dns: form.dns === undefined ? null : acmeDnsOf(form.dns, [...at, 'dns'], { written, absolute }),
    ca: ca === undefined ? null : { file: absolute(ca, caAt), origin: originOf(written, caAt).where },
    eab:
      eab === undefined
        ? null
        : { keyId: eab.keyId, keyFile: absolute(eab.keyFile, [...eabAt, 'keyFile']), origin: originOf(written, eabAt).where },
    profile: form.profile ?? null,
    preferredChain: form.preferredChain ?? null,
    keys: form.keys,
    origin: originOf(written, at).where,
  }
}

function acmeDnsOf(form: NonNullable<AcmeForm['dns']>, at: Path, { written, absolute }: Surroundings): AcmeDnsConfig {
  const { hook, update, tsig, responder, zone, servers, timeout: timeoutMs } = form
  if (responder !== undefined) return { kind: 'responder', listen: responder, zone: zone ?? '' }
  if (update === undefined) {
    const [program = '', ...rest] = hook ?? []
    // without a slash it is looked for in PATH
    return { kind: 'hook', command: [program.includes('/') ? absolute(program, [...at, 'hook']) : program, ...rest], timeoutMs, servers }
  }
  const tsigAt = [...at, 'tsig']
  return {
    kind: 'update',
    server: update,
    zone: zone ?? null,
    tsig:
      tsig === undefined
        ? null
        : { ...tsig, secretFile: absolute(tsig.secretFile, [...tsigAt, 'secretFile']), origin: originOf(written, tsigAt).where },
    timeoutMs,
    servers,
  }
}

function deepFreeze<T>(value: T): T {
  // the octets of an address cannot be frozen (ECMAScript §10.4.5.3); their types say that nobody writes to them
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
  for (const inner of Object.values(value)) deepFreeze(inner)
  return Object.freeze(value)
}
