import { isIPv6 } from 'node:net'
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
/** Addresses of a name that are used, half of them at least of each family that it has: each is a way to the server, to be watched. */
const MAX_ADDRESSES = 8

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
  #resolvers: () => readonly Endpoint[] = () => []

  constructor({ log, resolve = resolveHost }: BootstrapOptions) {
    this.#log = log
    this.#resolve = resolve
  }

  addressesOf(host: string): readonly string[] {
    return this.#hosts.get(host)?.addresses ?? []
  }

  /** Looks up the names of `config`, and no others from now on. Resolves when all that are new or not found yet are known, or after a while. */
  async follow(config: Config): Promise<void> {
    const names = new Set(
      config.upstreams?.flatMap(({ urls }) => urls.map(({ host }) => host)).filter((host) => parseAddress(host) === null),
    )
    this.#resolvers = () => resolversOf(config)
    for (const [name, { timer, addresses }] of this.#hosts) {
      // other resolvers may know one that was not found
      if (names.has(name) && addresses.length > 0) continue
      clearTimeout(timer)
      this.#hosts.delete(name)
    }
    const fresh = [...names].filter((name) => !this.#hosts.has(name))
    await Promise.all(fresh.map((name) => this.#add(name)))
  }

  stop(): void {
    for (const { timer } of this.#hosts.values()) clearTimeout(timer)
    this.#hosts.clear()
  }

  #add(name: string): Promise<void> {
    const host: Host = { addresses: [], retryMs: FIRST_RETRY_MS, timer: undefined }
    this.#hosts.set(name, host)
    return this.#look(name, host, { isFirst: true })
  }

  async #look(name: string, host: Host, { isFirst }: { isFirst: boolean }): Promise<void> {
    const resolvers = this.#resolvers()
    const { found, reason } = await this.#resolve(name, resolvers, AbortSignal.timeout(FIRST_LOOK_MS)).then(
      (found) => ({ found, reason: '' }),
      (error: unknown) => ({ found: null, reason: reasonOf(error) }),
    )
    // a reload has taken it away
    if (this.#hosts.get(name) !== host) return
    const wasFailing = host.retryMs > FIRST_RETRY_MS
    if (found === null) {
      if (!wasFailing) this.#log.warn({ host: name, resolvers: resolvers.map(formatEndpoint), reason }, NOT_FOUND)
      this.#lookAgain(name, host, host.retryMs)
      host.retryMs = Math.min(2 * host.retryMs, MIN_TTL_MS)
      return
    }
    host.retryMs = FIRST_RETRY_MS
    this.#lookAgain(name, host, Math.min(Math.max(found.ttl * 1000, MIN_TTL_MS), MAX_TTL_MS))
    const isMoved = this.#note(host, found)
    if (isFirst || (!isMoved && !wasFailing)) return
    this.#log.info({ host: name, addresses: host.addresses }, isMoved ? MOVED : FOUND_AGAIN)
    if (isMoved) this.onMoved()
  }

  /** Whether it has other addresses. */
  #note(host: Host, { addresses }: Resolved): boolean {
    const chosen = choose(addresses, host.addresses)
    const isMoved = chosen.length !== host.addresses.length || chosen.some((address) => !host.addresses.includes(address))
    if (isMoved) host.addresses = chosen
    return isMoved
  }

  #lookAgain(name: string, host: Host, ms: number): void {
    host.timer = setTimeout(() => void this.#look(name, host, { isFirst: false }), ms).unref()
  }
}

const NOT_FOUND = 'the host of an upstream is not found: what was known of it stays'
const FOUND_AGAIN = 'the host of an upstream is found again'
const MOVED = 'the host of an upstream has other addresses'

interface Host {
  addresses: readonly string[]
  retryMs: number
  timer: NodeJS.Timeout | undefined
}

/** Read anew for each look: resolv.conf is another one in another network. */
export function resolversOf(config: Config): readonly Endpoint[] {
  const resolvers = config.bootstrap ?? readResolvConf()
  return resolvers.filter((endpoint) => !leadsHere({ protocol: 'udp', ...endpoint }, config))
}

/** Resolvers rotate what they say, and large names have more addresses than are used: those that are known come first, as long as they hold. */
function choose(found: readonly string[], known: readonly string[]): readonly string[] {
  const ranked = [...known.filter((address) => found.includes(address)), ...found.filter((address) => !known.includes(address))]
  const [four, six] = [ranked.filter((address) => !isIPv6(address)), ranked.filter(isIPv6)]
  const first = four.slice(0, Math.max(MAX_ADDRESSES - six.length, MAX_ADDRESSES / 2))
  return [...first, ...six.slice(0, MAX_ADDRESSES - first.length)]
}
