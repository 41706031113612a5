import { isIPv6 } from 'node:net'

type LookupCallback = (error: Error | null, address: string, family: number) => void

/**
 * A `lookup` for sockets that are only ever given IP addresses: answers at once, where node:dns would cost a tick and a
 * closure per datagram, and could ask a resolver, perhaps ourselves.
 */
export function literalLookup(host: string, ...rest: unknown[]): void {
  const done = rest.at(-1) as LookupCallback
  done(null, host, isIPv6(host.split('%')[0] ?? host) ? 6 : 4)
}
