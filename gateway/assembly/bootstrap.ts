import type { Logger } from 'pino'
import { reasonOf } from '../../dns/operational-error.ts'
import { type Endpoint, formatEndpoint, parseAddress } from '../../net/address.ts'
import { readResolvConf } from '../../upstream/resolv-conf.ts'
import type { Config } from '../config/config.ts'
import { type Resolved, resolveHost } from './resolve-host.ts'
import { leadsHere } from './upstream-choice.ts'

/** How long a start or a reload waits for host names: they may be found later as well. */
const FIRST_LOOK_MS = 2000
/** Addresses are looked up again when their TTL has passed, within these bounds. */
const MIN_TTL_MS = 30_000
const MAX_TTL_MS = 3_600_000
/** After a failure, doubled each time up to MIN_TTL_MS; what was known stays. */
const FIRST_RETRY_MS = 1000

export interface BootstrapOptions {
  readonly log: Logger
  /** How a name is looked up. */
  readonly resolve?: typeof resolveHost
}

/**
 * Where the host names of upstreams lead. They are asked of plain resolvers, since what the gateway itself would ask is what is being looked for,
 * and again when their TTL has passed. What is told there is not trusted: the server has to prove its name, or is asked in the clear anyway.
 */
export class Bootstrap {
  /** Some name has other addresses. */
  onMoved: () => void = () => {}
  readonly #log: Logger
  readonly #resolve: typeof resolveHost
  readonly #hosts = new Map<string, Host>()
  #resolvers: readonly Endpoint[] = []

  constructor({ log, resolve = resolveHost }: BootstrapOptions) {
    this.#log = log
    this.#resolve = resolve
  }

  addressesOf(host: string): readonly string[] {
    return this.#hosts.get(host)?.addresses ?? []
  }

  /** Looks up the names of `config`, and no others from now on. Resolves when all that are new are known, or after a while. */
  async follow(config: Config): Promise<void> {
    const names = new Set(
      config.upstreams?.flatMap(({ urls }) => urls.map(({ host }) => host)).filter((host) => parseAddress(host) === null),
    )
    const resolvers = config.bootstrap ?? readResolvConf()
    this.#resolvers = resolvers.filter((endpoint) => !leadsHere({ protocol: 'udp', ...endpoint }, config))
    for (const [name, host] of this.#hosts) {
      if (names.has(name)) continue
      clearTimeout(host.timer)
      this.#hosts.delete(name)
    }
    const fresh = [...names].filter((name) => !this.#hosts.has(name))
    for (const name of fresh) this.#hosts.set(name, { addresses: [], retryMs: FIRST_RETRY_MS, timer: undefined })
    await Promise.all(fresh.map((name) => this.#look(name, { isFirst: true })))
  }

  stop(): void {
    for (const { timer } of this.#hosts.values()) clearTimeout(timer)
    this.#hosts.clear()
  }

  async #look(name: string, { isFirst }: { isFirst: boolean }): Promise<void> {
    const signal = AbortSignal.timeout(FIRST_LOOK_MS)
    let found: Resolved | null = null
    let reason = ''
    try {
      found = await this.#resolve(name, this.#resolvers, signal)
    } catch (error) {
      reason = reasonOf(error)
    }
    const host = this.#hosts.get(name)
    // a reload has taken it away
    if (host === undefined) return
    const wasFailing = host.retryMs > FIRST_RETRY_MS
    if (found === null) {
      if (!wasFailing) this.#log.warn({ host: name, resolvers: this.#resolvers.map(formatEndpoint), reason }, NOT_FOUND)
      this.#lookAgain(name, host, host.retryMs)
      host.retryMs = Math.min(2 * host.retryMs, MIN_TTL_MS)
      return
    }
    host.retryMs = FIRST_RETRY_MS
    this.#lookAgain(name, host, Math.min(Math.max(found.ttl * 1000, MIN_TTL_MS), MAX_TTL_MS))
    // resolvers rotate what they say
    if (found.addresses.toSorted().join() === host.addresses.toSorted().join()) return
    host.addresses = found.addresses
    if (isFirst) return
    this.#log.info({ host: name, addresses: found.addresses }, 'the host of an upstream has other addresses')
    this.onMoved()
  }

  #lookAgain(name: string, host: Host, ms: number): void {
    host.timer = setTimeout(() => void this.#look(name, { isFirst: false }), ms).unref()
  }
}

const NOT_FOUND = 'the host of an upstream is not found: what was known of it stays'

interface Host {
  addresses: readonly string[]
  retryMs: number
  timer: NodeJS.Timeout | undefined
}
