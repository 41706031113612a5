import type { Logger } from 'pino'
import type { ServedZone, ZoneServer } from '../../certs/acme/dns-01/responder-solver.ts'
import { ChallengeZones, type ZoneTerms } from '../../certs/acme/dns-01/zones.ts'
import { type Stage, TRANSPORTS, type TransportMeter, type TransportTraits, Verdict } from '../../dns/contracts.ts'
import type { Endpoint } from '../../net/address.ts'
import type { Clock } from '../../net/clock.ts'
import { allocateConcurrency, ConcurrencyLimit } from '../../net/concurrency-limit.ts'
import { Flusher } from '../../net/flusher.ts'
import { interfaceAddresses } from '../../net/interface-addresses.ts'
import { OutputBudget } from '../../net/output-budget.ts'
import { allocateRates, RateLimit } from '../../net/rate-limit.ts'
import { Wheel } from '../../net/wheel.ts'
import { Governor } from '../../transports/governor.ts'
import { createTcpTransport, type StreamTransport } from '../../transports/stream-transport.ts'
import { UdpTransport } from '../../transports/udp.ts'
import { Pipeline } from '../pipeline.ts'
import { AcceptStage } from '../stages/accept.ts'
import { LimitStage } from '../stages/limit.ts'
import { ShapeStage } from '../stages/shape.ts'
import { addressLog, bindTogether, withPorts } from './transports.ts'

export interface ZoneServerDependencies {
  readonly clock: Clock
  readonly meter: (traits: TransportTraits) => TransportMeter
  readonly log: Logger
}

const EVERYBODY = { has: () => true, tokens: null }
const NOBODY = { has: () => false }
/** A CA asks from a handful of places, each some times. */
const RATE = { perSecond: 50, burstMs: 1000 }
const SLIP = 2
const CONNECTIONS = { perClient: 10, total: 100 }
const STREAM = { idleMs: 10_000, inFlight: 16 }
/** How long those are waited for that were asking when an address is given up. */
const DRAIN_MS = 1000

/** No recursion here, whoever asks, and whatever is refused. */
const AUTHORITATIVE_ONLY: Stage = {
  name: 'authoritative-only',
  onQuery(query) {
    query.serverFlags = 0
    return Verdict.NEXT
  },
}

/**
 * Answers for the zones of dns-01 over UDP and TCP: in the main thread, with the transports and stages that clients are served with, on
 * addresses of its own. There is one for all certificates, so that several may have the same zone and the same addresses.
 */
export class DnsZoneServer implements ZoneServer {
  readonly #zones = new ChallengeZones()
  readonly #udp: UdpTransport
  readonly #tcp: StreamTransport
  /** Addresses by who wants them. */
  readonly #wanted = new Map<object, readonly Endpoint[]>()
  /** Addresses are bound and given up one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor({ clock, meter, log }: ZoneServerDependencies) {
    const [udp, tcp] = [meter(TRANSPORTS.udp), meter(TRANSPORTS.tcp)]
    const meterOf = (traits: TransportTraits): TransportMeter => (traits === TRANSPORTS.udp ? udp : tcp)
    const shared = { clock, wheel: new Wheel(clock), flusher: new Flusher(), acceptor: this.#pipeline(clock, meterOf) }
    const connections = new ConcurrencyLimit({ shared: allocateConcurrency(1), worker: 0, terms: CONNECTIONS })
    const handshakes = new RateLimit(allocateRates())
    const governor = new Governor({ connections, handshakes, terms: { rate: null, exempt: NOBODY }, clock })
    const addresses = (family: 'IPv4' | 'IPv6') => interfaceAddresses(family)
    this.#udp = new UdpTransport({ ...shared, addresses, observer: addressLog(log), meter: udp })
    this.#tcp = createTcpTransport({ ...shared, governor, budget: new OutputBudget(1), meter: tcp })
  }

  get endpoints(): readonly Endpoint[] {
    return this.#udp.endpoints
  }

  async open(terms: ZoneTerms, listen: readonly Endpoint[]): Promise<ServedZone> {
    const zone = this.#zones.open(terms)
    this.#wanted.set(zone, listen)
    try {
      await this.#bind()
    } catch (error) {
      this.#wanted.delete(zone)
      zone.close()
      // TCP may be bound where UDP could not be
      await this.#bind().catch(() => {})
      throw error
    }
    return {
      ...zone,
      close: async () => {
        zone.close()
        this.#wanted.delete(zone)
        await this.#bind()
      },
    }
  }

  #pipeline(clock: Clock, meterOf: (traits: TransportTraits) => TransportMeter): Pipeline {
    const terms = { queries: { rate: RATE, exempt: NOBODY }, udp: { rate: RATE, slip: SLIP, exempt: NOBODY } }
    const limit = new LimitStage(terms, { queries: new RateLimit(allocateRates()), udp: new RateLimit(allocateRates()) })
    const stages = [
      AUTHORITATIVE_ONLY,
      // an error has its size too, and whether it has an OPT record
      new ShapeStage({ padding: false }),
      new AcceptStage({ cookies: null, recurses: false }),
      limit,
      this.#zones,
    ]
    const observer = {
      onQuery: () => {},
      onAnswer: () => {},
      onRefusal: ({ client }: { client: { traits: TransportTraits } }, failure: Parameters<TransportMeter['dropped']>[0]) =>
        meterOf(client.traits).dropped(failure),
    }
    // nothing waits here
    return new Pipeline(() => stages, { clock, observer, queryTimeoutMs: 0 })
  }

  /** Listens where somebody wants it. */
  #bind(): Promise<void> {
    const bound = this.#last.then(async () => {
      const endpoints = [...new Map([...this.#wanted.values()].flat().map((each) => [`${each.host} ${each.port}`, each])).values()]
      const slices = endpoints.map((endpoint) => ({ endpoint, access: EVERYBODY, reusePort: false }))
      await bindTogether(slices, {
        first: (listen) => this.#tcp.reconfigure({ listen, connection: STREAM }),
        second: () => this.#udp.reconfigure({ listen: withPorts(slices, this.#tcp.endpoints) }),
      })
      await Promise.all([this.#tcp.settle(DRAIN_MS), this.#udp.settle(DRAIN_MS)])
    })
    this.#last = bound.catch(() => {})
    return bound
  }
}
