import { allocateConcurrency, ConcurrencyLimit, type ConcurrencyTerms } from '../../net/concurrency-limit.ts'
import { allocateRates, RateLimit } from '../../net/rate-limit.ts'
import { Governor, type HandshakeTerms } from '../../transports/governor.ts'

/** Those of so many threads, which count together. */
export function concurrencyLimits(workers: number, { perClient = 100, total = 20_000 }: Partial<ConcurrencyTerms> = {}) {
  const shared = allocateConcurrency(workers)
  const all = Array.from({ length: workers }, (_, worker) => new ConcurrencyLimit({ shared, worker, terms: { perClient, total } }))
  return { shared, all }
}

export function concurrencyLimit(terms: Partial<ConcurrencyTerms> = {}): ConcurrencyLimit {
  const [limit] = concurrencyLimits(1, terms).all
  if (limit === undefined) throw new RangeError('Cannot make a limit: received no thread')
  return limit
}

export function testGovernor({
  clock = () => 0,
  rate = null,
  exempt = { has: () => false },
  ...terms
}: Partial<ConcurrencyTerms> & { clock?: () => number } & Partial<HandshakeTerms> = {}): Governor {
  return new Governor({ connections: concurrencyLimit(terms), handshakes: new RateLimit(allocateRates()), terms: { rate, exempt }, clock })
}
