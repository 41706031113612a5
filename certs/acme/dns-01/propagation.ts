import { rcodeText } from '../../../dns/mnemonics.ts'
import { reasonOf } from '../../../dns/operational-error.ts'
import { Type } from '../../../dns/types.ts'
import { type Endpoint, formatEndpoint } from '../../../net/address.ts'
import type { Clock } from '../../../net/clock.ts'
import { type DnsClient, directly, queryFor, within } from './client.ts'
import type { Directory } from './directory.ts'
import { type ChallengeRecord, ownerText } from './record.ts'
import { Response } from './response.ts'

/** Between two looks, doubled each time. */
const FIRST_PAUSE_MS = 1000
const LAST_PAUSE_MS = 15_000

export interface PropagationConfig {
  readonly timeoutMs: number
  /** Who must show it; none: the servers of the zone. */
  readonly servers: readonly Endpoint[]
}

export interface PropagationDependencies {
  readonly client: DnsClient
  readonly directory: Directory
  readonly clock: Clock
  /** Resolves after `ms`; rejects when the signal aborts. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>
}

interface Server {
  readonly name: string
  readonly endpoint: Endpoint
  /** Whether only what it has itself counts. */
  readonly isAuthority: boolean
}

/** What a server says of a record; an error: why it says nothing. */
type Sight = 'shown' | 'absent' | Error

/**
 * Waits until a record is where the CA looks: each server that answers must show it, and at least one must. One that does not answer is
 * passed over: a secondary that is down would otherwise keep certificates from being renewed, and the CA asks another one as well.
 */
export class Propagation {
  readonly #config: PropagationConfig
  readonly #dependencies: PropagationDependencies

  constructor(config: PropagationConfig, dependencies: PropagationDependencies) {
    this.#config = config
    this.#dependencies = dependencies
  }

  /** Rejects with an Error whose message is the bare reason. */
  async await(record: ChallengeRecord, signal: AbortSignal): Promise<void> {
    const { clock, pause } = this.#dependencies
    const servers = await this.#serversOf(record, signal)
    const deadline = clock() + this.#config.timeoutMs
    let waiting = servers
    let isShown = false
    for (let ms = FIRST_PAUSE_MS; ; ms = Math.min(2 * ms, LAST_PAUSE_MS)) {
      const sights = await Promise.all(waiting.map(async (server) => ({ server, sight: await this.#look(server, record, signal) })))
      const missing = sights.filter(({ sight }) => sight !== 'shown')
      isShown ||= missing.length < sights.length
      if (isShown && !missing.some(({ sight }) => sight === 'absent')) return
      const left = deadline - clock()
      if (left <= 0) throw new Error(explain(record, missing, this.#config.timeoutMs))
      waiting = missing.map(({ server }) => server)
      await pause(Math.min(ms, left), signal)
    }
  }

  async #serversOf({ owner }: ChallengeRecord, signal: AbortSignal): Promise<readonly Server[]> {
    const { servers } = this.#config
    if (servers.length > 0) return servers.map((endpoint) => ({ name: formatEndpoint(endpoint), endpoint, isAuthority: false }))
    const { directory } = this.#dependencies
    const limit = { ms: this.#config.timeoutMs, signal, otherwise: 'the servers of the zone are not found' }
    const found = await within(limit, async (limited) => directory.nameServersOf(await directory.zoneOf(owner, limited), limited))
    return found.flatMap(({ name, endpoints }) =>
      endpoints.map((endpoint) => ({ name: `${name} (${formatEndpoint(endpoint)})`, endpoint, isAuthority: true })),
    )
  }

  async #look({ endpoint, isAuthority }: Server, { owner, value }: ChallengeRecord, signal: AbortSignal): Promise<Sight> {
    try {
      const query = queryFor(owner, Type.TXT, { recursionDesired: !isAuthority })
      const response = Response.read(await directly(endpoint, this.#dependencies.client).ask(query, signal))
      if (response === null) return new Error('the answer is malformed')
      if (!response.isConclusive) return new Error(rcodeText(response.rcode))
      // what it has from others may be old
      if (isAuthority && !response.isAuthoritative) return new Error('it is not authoritative for the name')
      return response.texts.includes(value) ? 'shown' : 'absent'
    } catch (error) {
      signal.throwIfAborted()
      return error instanceof Error ? error : new Error(reasonOf(error))
    }
  }
}

interface Missing {
  readonly server: Server
  readonly sight: Sight
}

function explain(record: ChallengeRecord, missing: readonly Missing[], timeoutMs: number): string {
  const reasons = missing.map(
    ({ server, sight }) => `${server.name}: ${sight instanceof Error ? sight.message : 'the record is not there'}`,
  )
  return `within ${timeoutMs / 1000} s not all servers have shown ${ownerText(record)} TXT "${record.value}": ${reasons.join('; ')}`
}
