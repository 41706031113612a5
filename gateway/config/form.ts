import { nameText } from '../../dns/text-name.ts'
import { formatEndpoint } from '../../net/address.ts'
import { formatAccess, formatUpstreamUrl } from './addresses.ts'
import type {
  AcmeConfig,
  AcmeDnsConfig,
  AdminConfig,
  CertificateConfig,
  Config,
  ListenConfig,
  QueryLogConfig,
  UpstreamConfig,
} from './config.ts'
import { formatDuration, formatSize } from './units.ts'

/** A value of the operator's form: what YAML can say. */
export type FormValue = string | number | boolean | readonly FormValue[] | { readonly [key: string]: FormValue }
export type Form = { readonly [key: string]: FormValue }

/** The configuration in the operator's form, complete: read again, it gives the same. What has no default and is not set is missing. */
export function formOf(config: Config): Form {
  const { listen, access, doh, tls, timeouts, cache, edns, limits, log } = config
  return {
    listen: {
      doh: listen.doh.map(listenForm),
      dot: listen.dot.map(listenForm),
      doq: listen.doq.map(listenForm),
      dns: listen.dns.map(listenForm),
      admin: listen.admin === null ? false : adminForm(listen.admin),
    },
    public: publicForm(config),
    access: {
      dns: formatAccess(access.dns),
      encrypted: formatAccess(access.encrypted),
      ...(access.tokenFile !== null && { tokens: { file: access.tokenFile } }),
    },
    doh: {
      paths: doh.paths,
      http3: doh.http3,
      json: doh.json,
      landing: doh.landing,
      ...(doh.proxy !== null && { proxy: doh.proxy }),
      trustedProxies: formatAccess(doh.trustedProxies),
    },
    tls: {
      certificates: tls.certificates.map(certificateForm),
      ...(tls.acme.length > 0 && { acme: tls.acme.map(acmeForm) }),
      minVersion: tls.minVersion.slice('TLSv'.length),
      ...(tls.ticketKeyFile !== null && { ticketKeys: { file: tls.ticketKeyFile } }),
    },
    state: config.state,
    ...(config.upstreams !== null && { upstreams: config.upstreams.map(upstreamForm) }),
    routes: config.routes.map(({ suffix, upstreams }) => ({ suffix: nameText(suffix, 0) ?? '', upstreams })),
    strategy: config.strategy,
    ...(config.bootstrap !== null && { bootstrap: config.bootstrap.map(formatEndpoint) }),
    timeouts: {
      query: formatDuration(timeouts.queryMs),
      handshake: formatDuration(timeouts.handshakeMs),
      drain: formatDuration(timeouts.drainMs),
    },
    cache: {
      memory: formatSize(cache.memory),
      serveStale: formatDuration(cache.serveStaleMs),
      prefetch: cache.prefetch,
      persist: cache.persist,
    },
    edns: { padding: edns.padding, cookies: edns.cookies, clientSubnet: edns.clientSubnet },
    workers: config.workers,
    limits: {
      connections: limits.connections,
      connectionsPerClient: limits.connectionsPerClient,
      handshakesPerSecond: limits.handshakesPerSecond,
      inFlightPerClient: limits.inFlightPerClient,
      inFlightPerConnection: limits.inFlightPerConnection,
      queriesPerSecond: limits.queriesPerSecond,
      exempt: formatAccess(limits.exempt),
      udp: { perSecond: limits.udp.perSecond, slip: limits.udp.slip, exempt: formatAccess(limits.udp.exempt) },
      memory: formatSize(limits.memory),
      idle: {
        stream: formatDuration(limits.idle.streamMs),
        http: formatDuration(limits.idle.httpMs),
        quic: formatDuration(limits.idle.quicMs),
      },
    },
    log: { level: log.level, queries: queryLogForm(log.queries) },
  }
}

function listenForm({ endpoint, access, proxyProtocol, clientCa, cleartext }: ListenConfig): FormValue {
  const address = formatEndpoint(endpoint)
  if (access === null && proxyProtocol === null && clientCa === null && !cleartext) return address
  return {
    address,
    ...(access !== null && { access: formatAccess(access) }),
    ...(proxyProtocol !== null && { proxyProtocol: formatAccess(proxyProtocol) }),
    ...(clientCa !== null && { clientCa: clientCa.file }),
    ...(cleartext && { cleartext }),
  }
}

function adminForm({ endpoint, tokenFile, hosts }: AdminConfig): FormValue {
  const address = formatEndpoint(endpoint)
  if (tokenFile === null && hosts.length === 0) return address
  return { address, hosts, ...(tokenFile !== null && { tokenFile }) }
}

function publicForm({ public: { name, addresses, ports } }: Config): Form {
  return { ...(name !== null && { name }), addresses, ports: withoutNull(ports) }
}

function withoutNull(values: Readonly<Record<string, FormValue | null>>): Form {
  return Object.fromEntries(Object.entries(values).filter((entry): entry is [string, FormValue] => entry[1] !== null))
}

function upstreamForm(upstream: UpstreamConfig): FormValue {
  const { urls, serverName, ca, pins, clientCertificate, source, socks } = upstream
  const texts = urls.map(formatUpstreamUrl)
  return {
    name: upstream.name,
    url: texts.length === 1 ? (texts[0] as string) : texts,
    ...(serverName !== null && { serverName }),
    ...(ca !== null && { ca: ca.file }),
    ...(pins.length > 0 && { pins }),
    ...(clientCertificate !== null && { clientCertificate: { cert: clientCertificate.cert, key: clientCertificate.key } }),
    weight: upstream.weight,
    connections: upstream.connections,
    pipelining: upstream.pipelining,
    maxAge: formatDuration(upstream.maxAgeMs),
    idle: formatDuration(upstream.idleMs),
    ...(source !== null && { source }),
    ...(socks !== null && { socks: formatEndpoint(socks) }),
    randomizeCase: upstream.randomizeCase,
  }
}

function certificateForm(certificate: CertificateConfig): FormValue {
  if (!('pfx' in certificate)) return { cert: certificate.cert, key: certificate.key }
  const { pfx, passwordFile } = certificate
  return { pfx, ...(passwordFile !== null && { passwordFile }) }
}

function acmeForm(acme: AcmeConfig): FormValue {
  const { email, dns, ca, eab, profile, preferredChain } = acme
  return {
    directory: acme.directory,
    ...(email !== null && { email }),
    names: acme.names,
    challenge: acme.challenge,
    http: acme.http.map(formatEndpoint),
    ...(dns !== null && { dns: acmeDnsForm(dns) }),
    ...(ca !== null && { ca: ca.file }),
    ...(eab !== null && { eab: { keyId: eab.keyId, keyFile: eab.keyFile } }),
    ...(profile !== null && { profile }),
    ...(preferredChain !== null && { preferredChain }),
    keys: acme.keys,
  }
}

function acmeDnsForm(dns: AcmeDnsConfig): FormValue {
  if (dns.kind === 'responder') return { responder: dns.listen.map(formatEndpoint), zone: dns.zone }
  const rest = { timeout: formatDuration(dns.timeoutMs), servers: dns.servers.map(formatEndpoint) }
  if (dns.kind === 'hook') return { hook: dns.command, ...rest }
  const { server, zone, tsig } = dns
  return {
    update: formatEndpoint(server),
    ...(zone !== null && { zone }),
    ...(tsig !== null && { tsig: { name: tsig.name, algorithm: tsig.algorithm, secretFile: tsig.secretFile } }),
    ...rest,
  }
}

function queryLogForm(queries: QueryLogConfig): string {
  if (queries.kind === 'errors') return 'errors'
  if (queries.share === 0) return 'none'
  // toString() turns to exponents below a millionth
  return queries.share === 1 ? 'all' : `sample:${queries.share.toFixed(9).replace(/0+$/, '')}`
}
