import { canonicalAddress, type Endpoint, formatEndpoint, isWildcard } from '../../net/address.ts'
import type { Config } from '../config/config.ts'
import type { GatewayFacts } from '../gateway.ts'

/** RFC 8484 §4.1 example: www.example.com A, base64url. */
const EXAMPLE = 'AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB'

/** What is printed once the gateway serves: addresses and command lines to paste. */
export function startText(config: Config, facts: GatewayFacts): string {
  const { dns, dot, doq } = facts.endpoints
  const clear = facts.endpoints.doh.filter((endpoint) => isCleartext(config, endpoint))
  const doh = facts.endpoints.doh.filter((endpoint) => !clear.includes(endpoint))
  const name = config.public.name ?? 'localhost'
  const url =
    doh[0] === undefined ? null : `https://${name}${portSuffix(config.public.ports.doh ?? doh[0].port, 443)}${config.doh.paths[0]}`
  const ca = facts.localCa === null ? null : facts.localCa.path
  const lines = [
    'Atlas DNS is serving',
    '',
    ...(url === null ? [] : [line('browser, secure DNS URL', url)]),
    ...each('DNS over HTTPS', doh),
    ...each('the same without TLS', clear),
    ...each('DNS over TLS', dot),
    ...each('DNS over QUIC', doq),
    ...each('plain DNS, UDP and TCP', dns),
    ...(facts.admin === null ? [] : [line('metrics', `http://${formatEndpoint(facts.admin)}/metrics`)]),
    ...(config.access.tokenFile === null ? [] : [line('a token is needed', 'atlas-dns token <name> makes one, and shows where it goes')]),
    line('asks', facts.upstreams.length === 0 ? 'nobody: no resolver is known' : facts.upstreams.join(', ')),
    ...(facts.localCa === null
      ? []
      : ['', line('local CA, to be trusted', facts.localCa.path), line('its SHA-256 fingerprint', facts.localCa.fingerprint)]),
    ...(facts.warnings.length === 0 ? [] : ['', ...facts.warnings.map((warning) => line('warning', warning))]),
    '',
    'Try it:',
    ...tryDot(dot[0], name, ca),
    ...tryDoq(doq[0], name, ca),
    ...tryDoh(doh[0], { name, ca, url }),
    ...tryClear(clear[0], config),
    ...tryDns(dns[0]),
  ]
  return `${lines.join('\n')}\n\n`
}

function tryDot(endpoint: Endpoint | undefined, name: string, ca: string | null): readonly string[] {
  if (endpoint === undefined) return []
  return [`  kdig @${reachable(endpoint)} -p ${endpoint.port} ${tlsOptions(name, ca)} example.com`]
}

/** "+quic" has to be the last option: kdig forgets it with each one about TLS that follows. */
function tryDoq(endpoint: Endpoint | undefined, name: string, ca: string | null): readonly string[] {
  if (endpoint === undefined) return []
  return [`  kdig @${reachable(endpoint)} -p ${endpoint.port} ${tlsOptions(name, ca)} +quic example.com`]
}

function tryDoh(
  endpoint: Endpoint | undefined,
  { name, ca, url }: { name: string; ca: string | null; url: string | null },
): readonly string[] {
  if (endpoint === undefined || url === null) return []
  const cacert = ca === null ? '' : `--cacert ${ca} `
  return [
    `  kdig @${reachable(endpoint)} -p ${endpoint.port} +https=${new URL(url).pathname} ${tlsOptions(name, ca)} example.com`,
    `  curl ${cacert}--doh-url ${url} http://example.com/`,
    `  curl ${cacert}-o answer.bin '${url}?dns=${EXAMPLE}'`,
  ]
}

function isCleartext({ listen }: Config, { host, port }: Endpoint): boolean {
  return listen.doh.some(
    ({ endpoint, cleartext }) => cleartext && endpoint.host === host && (endpoint.port === 0 || endpoint.port === port),
  )
}

/** As the proxy in front asks. */
function tryClear(endpoint: Endpoint | undefined, { public: { name }, doh: { paths } }: Config): readonly string[] {
  if (endpoint === undefined) return []
  const url = `http://${formatEndpoint({ host: reachable(endpoint), port: endpoint.port })}${paths[0]}`
  return [`  curl -H 'host: ${name ?? 'localhost'}' -o answer.bin '${url}?dns=${EXAMPLE}'`]
}

function tryDns(endpoint: Endpoint | undefined): readonly string[] {
  return endpoint === undefined ? [] : [`  dig @${reachable(endpoint)} -p ${endpoint.port} example.com`]
}

function tlsOptions(name: string, ca: string | null): string {
  return `${ca === null ? '+tls-ca' : `+tls-ca=${ca}`} +tls-hostname=${name}`
}

/** An address that a client on this machine can use. */
function reachable({ host }: Endpoint): string {
  if (!isWildcard(host)) return canonicalAddress(host)
  return host.includes(':') ? '::1' : '127.0.0.1'
}

function each(label: string, endpoints: readonly Endpoint[]): readonly string[] {
  return endpoints.length === 0 ? [] : [line(label, endpoints.map(formatEndpoint).join('  '))]
}

export function portSuffix(port: number, standard: number): string {
  return port === standard ? '' : `:${port}`
}

function line(label: string, value: string): string {
  return `  ${label.padEnd(26)}${value}`
}
