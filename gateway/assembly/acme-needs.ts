import { aliasTarget, challengeName } from '../../certs/acme/dns-01/record.ts'
import { type Endpoint, formatEndpoint, parseAddress } from '../../net/address.ts'
import type { AcmeConfig, AcmeDnsConfig, Config } from '../config/config.ts'

/** RFC 8737 §3, RFC 8555 §8.3: the CA asks there, and nowhere else. */
const TLS_PORT = 443
const HTTP_PORT = 80

/** What has to be so outside of the gateway before a CA can find what it looks for: one sentence each. */
export function acmeNeeds(entry: AcmeConfig, config: Config): readonly string[] {
  const hosts = [...new Set(entry.names.filter((name) => parseAddress(name) === null).map((name) => name.replace(/^\*\./, '')))]
  const located = hosts.length === 0 ? [] : [`A or AAAA records of ${hosts.join(', ')} that lead to this gateway`]
  switch (entry.challenge) {
    case 'tls-alpn-01':
      return [...located, tlsNeed(config)]
    case 'http-01':
      return [...located, `TCP port ${HTTP_PORT} of these names open to everybody, leading to ${addresses(entry.http)}`]
    case 'dns-01':
      return entry.dns === null ? [] : dnsNeeds(entry.dns, hosts)
  }
}

function tlsNeed({ listen }: Config): string {
  // also behind a balancer that leaves TLS alone; but a CA has no certificate to show
  const answering = [...listen.doh, ...listen.dot].filter(({ cleartext, clientCa }) => !cleartext && clientCa === null)
  const listeners = answering.map(({ endpoint }) => endpoint)
  const there = listeners.filter(({ port }) => port === TLS_PORT)
  const open = `TCP port ${TLS_PORT} of these names open to everybody`
  if (there.length > 0) return `${open}, leading to ${addresses(there)}`
  return `${open}, and passed on to ${addresses(listeners)} by something in front that leaves TLS alone: no listener has that port`
}

function dnsNeeds(dns: AcmeDnsConfig, hosts: readonly string[]): readonly string[] {
  const records = hosts.map((host) => challengeName({ type: 'dns', value: host }))
  switch (dns.kind) {
    case 'hook':
      return [`that ${dns.command[0]} can make TXT records at ${records.join(', ')}`]
    case 'update':
      return [`that ${formatEndpoint(dns.server)} takes updates of TXT records at ${records.join(', ')}`]
    case 'responder':
      return [
        `NS records of ${dns.zone} that lead to this gateway, UDP and TCP port 53 open to everybody, leading to ${addresses(dns.listen)}`,
        ...hosts.map((host, i) => `a CNAME record of ${records[i]} that leads to ${aliasTarget(host, dns.zone)}`),
      ]
  }
}

function addresses(endpoints: readonly Endpoint[]): string {
  return endpoints.length === 0 ? 'nowhere yet' : endpoints.map(formatEndpoint).join(' or ')
}
