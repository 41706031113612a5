import { Resolver } from 'node:dns/promises'
import { reasonOf } from '../../dns/operational-error.ts'
import { canonicalAddress, type Endpoint, formatEndpoint, isWildcard } from '../../net/address.ts'

/** How long a resolver is waited for before the next one is asked. */
const TIMEOUT_MS = 700
const TRIES = 2

export interface Resolved {
  /** IPv4 first: it is what more networks have. */
  readonly addresses: readonly string[]
  /** Seconds for which that holds. */
  readonly ttl: number
}

/** RFC 6761 §6.3: it is not asked for. */
const LOCALHOST: Resolved = { addresses: ['127.0.0.1', '::1'], ttl: Number.MAX_SAFE_INTEGER }

/** The addresses of a host name, asked of `resolvers` over plain DNS. Rejects when there are none, with the reason. */
export async function resolveHost(name: string, resolvers: readonly Endpoint[], signal: AbortSignal): Promise<Resolved> {
  if (name === 'localhost' || name.endsWith('.localhost')) return LOCALHOST
  if (resolvers.length === 0) throw new Error('no resolver is known')
  const resolver = new Resolver({ timeout: TIMEOUT_MS, tries: TRIES })
  resolver.setServers(resolvers.map(formatEndpoint))
  const onAbort = (): void => resolver.cancel()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    const families = await Promise.allSettled([resolver.resolve4(name, { ttl: true }), resolver.resolve6(name, { ttl: true })])
    const records = families.flatMap((family) => (family.status === 'fulfilled' ? family.value : []))
    // what block lists say instead of "no"; as a destination the kernel takes it for ourselves
    const found = records.filter(({ address }) => !isWildcard(address))
    if (found.length === 0) throw new Error(signal.aborted ? 'no resolver has answered in time' : whyNone(families))
    const addresses = new Set(found.map(({ address }) => canonicalAddress(address)))
    return { addresses: [...addresses], ttl: found.reduce((least, { ttl }) => Math.min(least, ttl), Number.POSITIVE_INFINITY) }
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

function whyNone(families: readonly PromiseSettledResult<unknown>[]): string {
  const refused = families.find(({ status }) => status === 'rejected')
  return refused?.status === 'rejected' ? reasonOf(refused.reason) : 'the name has no address that can be used'
}
