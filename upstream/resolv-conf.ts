import { readFileSync } from 'node:fs'
import { type Endpoint, parseAddress } from '../net/address.ts'

/** resolv.conf(5): glibc uses the first three. */
const MAX_SERVERS = 3
const DNS_PORT = 53

/** The resolvers of the machine, in their order. A file that is missing or unreadable names none. */
export function readResolvConf(path = '/etc/resolv.conf'): readonly Endpoint[] {
  try {
    return parseResolvConf(readFileSync(path, 'utf8'))
  } catch {
    return []
  }
}

export function parseResolvConf(text: string): readonly Endpoint[] {
  const servers: Endpoint[] = []
  for (const line of text.split('\n')) {
    const [keyword, host] = line.trim().split(/\s+/)
    if (keyword === 'nameserver' && host !== undefined && parseAddress(host) !== null) servers.push({ host, port: DNS_PORT })
  }
  return servers.slice(0, MAX_SERVERS)
}
