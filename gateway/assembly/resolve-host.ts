import { Resolver } from 'node:dns/promises'
import { reasonOf } from '../../dns/operational-error.ts'
import { type Endpoint, formatEndpoint } from '../../net/address.ts'

/** Addresses of a name that are used: each is a way to the server, to be watched. */
const MAX_ADDRESSES = 8

export interface Resolved {
  /** IPv4 first: it is what more networks have. */
  readonly addresses: readonly string[]
  /** Seconds for which that holds. */
  readonly ttl: number
}

/** The addresses of a host name, asked of `resolvers` over plain DNS. Rejects when there are none, with the reason. */
export async function resolveHost(name: string, resolvers: readonly Endpoint[], signal: AbortSignal): Promise<Resolved> {
  if (resolvers.length === 0) throw new Error('no resolver is known')
  // each in turn, when the one before is silent
  const resolver = new Resolver({ timeout: 700, tries: 2 })
  resolver.setServers(resolvers.map(formatEndpoint))
  const onAbort = (): void => resolver.cancel()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    const families = await Promise.allSettled([resolver.resolve4(name, { ttl: true }), resolver.resolve6(name, { ttl: true })])
    const found = families.flatMap((family) => (family.status === 'fulfilled' ? family.value : [])).slice(0, MAX_ADDRESSES)
    if (found.length > 0) return { addresses: found.map(({ address }) => address), ttl: Math.min(...found.map(({ ttl }) => ttl)) }
    const [first] = families
    throw new Error(first.status === 'rejected' ? reasonOf(first.reason) : 'the name has no address')
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
