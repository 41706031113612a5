import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { ChallengeCertificate } from '../certs/acme/challenge-certificate.ts'
import { ChallengeContexts } from '../certs/acme/challenge-contexts.ts'
import type { Identity } from '../certs/identity.ts'
import type { Staple } from '../certs/ocsp/stapled.ts'
import { IdentityStore } from '../certs/store.ts'
import { TicketKeyring } from '../certs/tickets/keyring.ts'
import { tlsPolicy } from '../certs/tls-policy.ts'
import { ServerCookies } from '../dns/server-cookies.ts'
import { monotonicClock } from '../net/clock.ts'
import { ConcurrencyLimit } from '../net/concurrency-limit.ts'
import { Flusher } from '../net/flusher.ts'
import { isAddressInUse } from '../net/listen.ts'
import type { QuicEngine } from '../net/quic.ts'
import { RateLimit } from '../net/rate-limit.ts'
import { digestOf, type TokenEntry } from '../net/token.ts'
import { Wheel } from '../net/wheel.ts'
import { Governor } from '../transports/governor.ts'
import { TokenTable } from '../transports/token-table.ts'
import type { WorkerCache } from './assembly/cache.ts'
import type { ClientCas } from './assembly/client-cas.ts'
import type { LocalCaFacts } from './assembly/identities.ts'
import { connectionTerms, handshakeTerms, inFlightTerms, limitTerms, overloadTerms } from './assembly/limit-terms.ts'
import { lazyQuic, listensOnQuic, openQuic } from './assembly/quic.ts'
import { Routing } from './assembly/routing.ts'
import type { RoutingPlan } from './assembly/routing-plan.ts'
import { type BoundEndpoints, TransportAssembly } from './assembly/transports.ts'
import { Cache } from './cache/cache.ts'
import type { Config } from './config/config.ts'
import { OverloadWatch } from './overload.ts'
import { Pipeline } from './pipeline.ts'
import { AcceptStage } from './stages/accept.ts'
import { AccessStage } from './stages/access.ts'
import { CacheStage } from './stages/cache.ts'
import { ClientSubnetStage } from './stages/client-subnet.ts'
import { ForwardStage } from './stages/forward.ts'
import { LimitStage } from './stages/limit.ts'
import { LoopStage, loopLabel } from './stages/loop.ts'
import { ProbeStage } from './stages/probe.ts'
import { RouteStage } from './stages/route.ts'
import { ShapeStage } from './stages/shape.ts'
import { SpecialNamesStage, specialNames } from './stages/special-names.ts'
import { combine } from './telemetry/observers.ts'
import { QueryLog } from './telemetry/query-log.ts'
import { Slab } from './telemetry/slab.ts'
import { Telemetry } from './telemetry/telemetry.ts'
import type { WorkerMemory } from './workers/memory.ts'
import type { Command } from './workers/protocol.ts'

/** What a data plane serves with and that may change while it serves: a value that can be sent to a thread. */
export interface DataPlaneSettings {
  /** With the true ports, once they are known. */
  readonly config: Config
  /** None when nothing is encrypted. */
  readonly identities: readonly Identity[]
  /** What clients have to trust; null while the local CA is not in use. */
  readonly localCa: LocalCaFacts | null
  /** Of DNS cookies, hexadecimal; none: there are no cookies. */
  readonly cookieSecrets: readonly string[]
  /** Of session tickets, hexadecimal: the first makes them, all are accepted. */
  readonly ticketKeys: readonly string[]
  /** To be shown beside certificates. */
  readonly staples: readonly Staple[]
  /** Who may use encrypted DNS; null: nobody needs a token. */
  readonly accessTokens: readonly TokenEntry[] | null
  /** What certificates of clients have to lead to. */
  readonly clientCas: ClientCas
  readonly routing: RoutingPlan
  /** Whether another worker serves HTTP/3. */
  readonly http3Elsewhere: boolean
}

/** Everything a data plane is made from: a value that can be sent to a thread. */
export interface WorkerSetup extends DataPlaneSettings {
  readonly index: number
  /** Whether other workers listen on the same addresses. */
  readonly reusePort: boolean
  /** Whether QUIC is served here: by one worker only, because a connection has to stay on its thread when its client moves. */
  readonly quic: boolean
  /** Whether an address may be in use for a moment: by the worker before this one. */
  readonly takesOver: boolean
  /** What CAs are to be shown; a command brings others. */
  readonly challenges: readonly ChallengeCertificate[]
  /** What the self-probe calls itself. */
  readonly probeToken: string
  readonly memory: WorkerMemory
  /** What is known of upstream servers (upstream/health-table.ts). */
  readonly health: SharedArrayBuffer
  readonly cache: WorkerCache
}

export interface DataPlaneFacts {
  readonly endpoints: BoundEndpoints
  readonly http3: boolean
}

/** How often a data plane shows that it is alive: often enough to be seen between two looks of the main thread. */
const BEAT_MS = 500
/** How long a worker waits for addresses that the one before it may still have: doubled from the first to the last, 6 s in all. */
const FIRST_WAIT_MS = 50
const LAST_WAIT_MS = 3200

/** What one thread serves with: transports, pipeline and upstream, joined. Shares nothing with other threads but `setup.memory`. */
export class DataPlane {
  readonly #setup: WorkerSetup
  readonly #log: Logger
  readonly #shared = { clock: monotonicClock, wheel: new Wheel(monotonicClock), flusher: new Flusher() }
  readonly #telemetry: Telemetry
  readonly #cache: Cache
  readonly #connections: ConcurrencyLimit
  readonly #inFlight: ConcurrencyLimit
  readonly #governor: Governor
  readonly #overload: OverloadWatch
  readonly #shape: ShapeStage
  readonly #accept: AcceptStage
  readonly #clientSubnet: ClientSubnetStage
  readonly #rateLimit: LimitStage
  readonly #special: SpecialNamesStage
  readonly #routing: Routing
  readonly #route: RouteStage
  readonly #pipeline: Pipeline
  readonly #challenges = new ChallengeContexts()
  readonly #transports: TransportAssembly
  readonly #tickets: TicketKeyring
  #settings: DataPlaneSettings
  #identities: IdentityStore | null = null
  /** Undefined until something listens on it. */
  #quic: QuicEngine | null | undefined
  #beating: NodeJS.Timeout | null = null
  /** Commands are carried out one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(setup: WorkerSetup, log: Logger) {
    this.#setup = setup
    this.#settings = setup
    this.#log = log
    const { config, memory, cache, routing } = setup
    this.#telemetry = new Telemetry(new Slab(memory.counters))
    const { connections, inFlight } = memory.concurrency
    this.#connections = new ConcurrencyLimit({ shared: connections, worker: setup.index, terms: connectionTerms(config) })
    this.#inFlight = new ConcurrencyLimit({ shared: inFlight, worker: setup.index, terms: inFlightTerms(config) })
    this.#governor = new Governor({
      connections: this.#connections,
      handshakes: new RateLimit(memory.rates.handshakes),
      terms: handshakeTerms(config),
      clock: monotonicClock,
    })
    this.#cache = new Cache(cache.memory, {
      ...config.cache,
      owner: cache.owner,
      meter: this.#telemetry.cacheMeter(),
    })
    this.#special = new SpecialNamesStage(specialNames(config.routes))
    this.#routing = new Routing({
      ...this.#shared,
      log,
      meter: (name) => this.#telemetry.upstreamMeter(name),
      quic: lazyQuic(config, log, this.#shared),
      health: setup.health,
      loopLabel: loopLabel(setup.probeToken),
    })
    this.#routing.reconfigure(routing, config)
    this.#route = new RouteStage(this.#routing.table)
    this.#shape = new ShapeStage(config.edns)
    this.#accept = new AcceptStage({ cookies: cookiesOf(setup) })
    this.#clientSubnet = new ClientSubnetStage(config.edns.clientSubnet)
    this.#rateLimit = new LimitStage(limitTerms(config), {
      queries: new RateLimit(memory.rates.queries),
      udp: new RateLimit(memory.rates.udp),
    })
    this.#pipeline = this.#assemblePipeline(config)
    this.#challenges.replace(setup.challenges)
    this.#tickets = new TicketKeyring(setup.ticketKeys)
    this.#transports = new TransportAssembly(
      { workers: config.workers, reusePort: setup.reusePort, tickets: this.#tickets, challenges: this.#challenges },
      {
        ...this.#shared,
        acceptor: this.#pipeline,
        governor: this.#governor,
        log,
        meter: (traits) => this.#telemetry.transportMeter(traits),
      },
    )
    this.#overload = new OverloadWatch(overloadTerms(config), {
      governor: this.#governor,
      connections: () => this.#transports.connections,
      held: () => this.#transports.held,
      dropped: ({ traits }, failure) => this.#telemetry.transportMeter(traits).dropped(failure),
      log,
    })
  }

  get facts(): DataPlaneFacts {
    return { endpoints: this.#transports.endpoints, http3: this.#transports.http3 }
  }

  /** Binds everything, or closes again and throws an OperationalError. */
  async start(): Promise<void> {
    this.#beat()
    try {
      await this.#bind()
    } catch (error) {
      await this.close()
      throw error
    }
  }

  async execute(command: Command): Promise<DataPlaneFacts> {
    const done = this.#last.then(() => this.#carryOut(command))
    this.#last = done.catch(() => {})
    await done
    return this.facts
  }

  /** Takes nothing new, answers what is open, ends; at the latest after `deadlineMs`. */
  async drain(deadlineMs: number): Promise<void> {
    this.#log.info({ open: this.#pipeline.open }, 'draining')
    await this.#transports.drain(deadlineMs)
    await this.close()
  }

  /** Ends at once. */
  async close(): Promise<void> {
    if (this.#beating !== null) clearInterval(this.#beating)
    await this.#transports.close()
    await this.#routing.close()
  }

  async #carryOut(command: Command): Promise<void> {
    switch (command.name) {
      case 'reconfigure':
        await this.#reconfigure(command.settings)
        break
      case 'settle':
        // what is left has its time: nobody waits for that
        void this.#transports.settle(command.deadlineMs)
        break
      case 'challenges':
        this.#challenges.replace(command.certificates)
        break
      case 'rebind':
        await this.#transports.rebind(command.socket, command.endpoint)
        break
      case 'drain':
        await this.drain(command.deadlineMs)
        break
      case 'close':
        await this.close()
    }
  }

  /** Serves as `settings` say. After an error the former settings are due: then everything is as it was. */
  async #reconfigure(settings: DataPlaneSettings): Promise<void> {
    const { config } = settings
    await this.#applyToTransports(settings)
    this.#settings = settings
    this.#tickets.replace(settings.ticketKeys)
    this.#log.level = config.log.level
    this.#connections.terms = connectionTerms(config)
    this.#inFlight.terms = inFlightTerms(config)
    this.#governor.terms = handshakeTerms(config)
    this.#overload.terms = overloadTerms(config)
    this.#shape.padding = config.edns.padding
    this.#accept.cookies = cookiesOf(settings)
    this.#clientSubnet.mode = config.edns.clientSubnet
    this.#rateLimit.terms = limitTerms(config)
    this.#pipeline.reconfigure(this.#pipelineSettings(config))
    this.#cache.reconfigure(config.cache)
    this.#special.names = specialNames(config.routes)
    this.#routing.reconfigure(settings.routing, config)
    this.#route.table = this.#routing.table
  }

  async #applyToTransports({
    config,
    identities,
    staples,
    localCa,
    accessTokens,
    clientCas,
    http3Elsewhere,
  }: DataPlaneSettings): Promise<void> {
    if (identities.length > 0) {
      const options = identityOptions(config)
      if (this.#identities === null) this.#identities = new IdentityStore(identities, options)
      else this.#identities.replace(identities, options)
      this.#identities.staple(staples)
    }
    if (this.#setup.quic && this.#quic === undefined && listensOnQuic(config)) this.#quic = openQuic(config, this.#log, this.#shared)
    const tokens = accessTokens === null ? null : new TokenTable([...accessTokens, probeEntry(this.#setup.probeToken)])
    await this.#transports.reconfigure({
      config,
      identities: this.#identities,
      localCa,
      tokens,
      clientCas,
      quic: this.#quic ?? null,
      http3Elsewhere,
    })
  }

  async #bind(): Promise<void> {
    for (let wait = FIRST_WAIT_MS; ; wait *= 2) {
      try {
        await this.#applyToTransports(this.#settings)
        return await this.#transports.settle(0)
      } catch (error) {
        if (!this.#setup.takesOver || !isAddressInUse(error) || wait > LAST_WAIT_MS) throw error
        await sleep(wait)
      }
    }
  }

  /** Shows the main thread that this one is alive, and how busy. */
  #beat(): void {
    const { memory, index } = this.#setup
    const beats = new Int32Array(memory.beats)
    const meter = this.#telemetry.eventLoopMeter(index)
    let due = performance.now() + BEAT_MS
    let before = performance.eventLoopUtilization()
    this.#beating = setInterval(() => {
      Atomics.add(beats, index, 1)
      const now = performance.now()
      const utilization = performance.eventLoopUtilization()
      const delayMs = Math.max(0, now - due)
      meter.beat(delayMs, performance.eventLoopUtilization(utilization, before).utilization)
      this.#overload.look({ delayMs, rss: process.memoryUsage.rss() })
      due = now + BEAT_MS
      before = utilization
    }, BEAT_MS).unref()
  }

  #assemblePipeline(config: Config): Pipeline {
    const cache = this.#cache
    return new Pipeline(
      (settler) => {
        const forward = new ForwardStage({ ...this.#shared, cache, settler, inFlight: this.#inFlight })
        return [
          this.#shape, // first, so that every answer passes it on its way out
          new AccessStage(), // before any octet of the message is read
          this.#accept, // from here on the query is well-formed
          this.#clientSubnet, // before any answer: who says its network gets it back
          new ProbeStage({ token: this.#setup.probeToken, worker: this.#setup.index }), // what only the gateway itself asks
          new LoopStage(loopLabel(this.#setup.probeToken), this.#routing), // before it is asked of those who sent it here
          this.#rateLimit, // before anything is done for it
          this.#special, // before anybody else could hear of the name
          this.#route, // whom it is asked of, and so what is known of it
          new CacheStage(cache, forward), // what is known need not be asked
          forward,
        ]
      },
      { clock: monotonicClock, ...this.#pipelineSettings(config) },
    )
  }

  #pipelineSettings({ log, timeouts }: Config) {
    const wantsLog = log.queries.kind === 'errors' || log.queries.share > 0
    const observer = combine([this.#telemetry, ...(wantsLog ? [new QueryLog(this.#log, log.queries)] : [])])
    return { observer, queryTimeoutMs: timeouts.queryMs }
  }
}

/** The self-probe is a client like others. No operator's name has a space. */
function probeEntry(token: string): TokenEntry {
  return { name: 'self probe', digest: digestOf(token) }
}

function cookiesOf({ cookieSecrets }: DataPlaneSettings): ServerCookies | null {
  return cookieSecrets.length === 0 ? null : new ServerCookies(cookieSecrets.map((secret) => Buffer.from(secret, 'hex')))
}

function identityOptions({ tls, timeouts, public: { name } }: Config) {
  const policy = { ...tlsPolicy(tls), handshakeTimeout: timeouts.handshakeMs }
  return { policy, extraNames: name === null ? [] : [name] }
}
