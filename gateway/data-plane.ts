import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Identity } from '../certs/identity.ts'
import { IdentityStore } from '../certs/store.ts'
import { tlsPolicy } from '../certs/tls-policy.ts'
import { type Clock, monotonicClock } from '../net/clock.ts'
import { Flusher } from '../net/flusher.ts'
import { isAddressInUse } from '../net/listen.ts'
import { Wheel } from '../net/wheel.ts'
import { ConnectionLimit } from '../transports/connection-limit.ts'
import { OrderedUpstream } from '../upstream/ordered.ts'
import type { WorkerCache } from './assembly/cache.ts'
import { assembleQuic } from './assembly/quic.ts'
import { spaceOf } from './assembly/space.ts'
import { assembleTransports, type BoundEndpoints, type TransportAssembly } from './assembly/transports.ts'
import { makeUpstreamServer, type UpstreamServerDependencies, type UpstreamTarget } from './assembly/upstreams.ts'
import { Cache } from './cache/cache.ts'
import type { Config } from './config/config.ts'
import { Pipeline } from './pipeline.ts'
import { AcceptStage } from './stages/accept.ts'
import { AccessStage } from './stages/access.ts'
import { CacheStage } from './stages/cache.ts'
import { ForwardStage } from './stages/forward.ts'
import { ShapeStage } from './stages/shape.ts'
import { SpecialNamesStage } from './stages/special-names.ts'
import { combine } from './telemetry/observers.ts'
import { QueryLog } from './telemetry/query-log.ts'
import { Slab } from './telemetry/slab.ts'
import { Telemetry } from './telemetry/telemetry.ts'
import type { WorkerMemory } from './workers/memory.ts'
import type { Command } from './workers/protocol.ts'

/** Everything a data plane is made from: a value that can be sent to a thread. */
export interface WorkerSetup {
  /** With the true ports, once they are known. */
  readonly config: Config
  readonly index: number
  /** Whether other workers listen on the same addresses. */
  readonly reusePort: boolean
  /** Whether QUIC is served here: by one worker only, because a connection has to stay on its thread when its client moves. */
  readonly quic: boolean
  /** Whether another worker serves HTTP/3. */
  readonly http3Elsewhere: boolean
  /** Whether an address may be in use for a moment: by the worker before this one. */
  readonly takesOver: boolean
  /** None when nothing is encrypted. */
  readonly identities: readonly Identity[]
  readonly ticketKeys: Uint8Array
  readonly upstreams: readonly UpstreamTarget[]
  readonly memory: WorkerMemory
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
  readonly #telemetry: Telemetry
  readonly #cache: Cache
  readonly #identities: IdentityStore | null
  readonly #upstreamDependencies: UpstreamServerDependencies
  readonly #upstream: OrderedUpstream
  readonly #pipeline: Pipeline
  readonly #transports: TransportAssembly
  #beating: NodeJS.Timeout | null = null

  constructor(setup: WorkerSetup, log: Logger) {
    this.#setup = setup
    this.#log = log
    const { config, memory, cache, upstreams } = setup
    const shared = { clock: monotonicClock, wheel: new Wheel(monotonicClock), flusher: new Flusher() }
    this.#telemetry = new Telemetry(new Slab(memory.counters))
    this.#identities = setup.identities.length === 0 ? null : makeIdentityStore(setup.identities, config)
    this.#upstreamDependencies = {
      ...shared,
      log,
      meter: (name) => this.#telemetry.upstreamMeter(name),
      connectMs: config.timeouts.handshakeMs,
    }
    this.#cache = new Cache(cache.memory, {
      ...config.cache,
      owner: cache.owner,
      space: spaceOf(upstreams),
      meter: this.#telemetry.cacheMeter(),
    })
    this.#upstream = new OrderedUpstream(this.#makeServers(setup.upstreams), shared)
    this.#pipeline = this.#assemblePipeline(shared)
    this.#transports = assembleTransports(
      { ...setup, ticketKeys: Buffer.from(setup.ticketKeys) },
      {
        ...shared,
        acceptor: this.#pipeline,
        limit: new ConnectionLimit({ shared: memory.connections, worker: setup.index, perClient: config.limits.connectionsPerClient }),
        identities: this.#identities,
        quic: setup.quic ? assembleQuic(config, log, shared) : null,
        log,
        meter: (traits) => this.#telemetry.transportMeter(traits),
      },
    )
  }

  get facts(): DataPlaneFacts {
    return { endpoints: this.#transports.endpoints, http3: this.#transports.http3 }
  }

  /** Binds everything, or closes again and throws an OperationalError. */
  async start(): Promise<void> {
    const beats = new Int32Array(this.#setup.memory.beats)
    this.#beating = setInterval(() => Atomics.add(beats, this.#setup.index, 1), BEAT_MS).unref()
    try {
      await this.#bind()
    } catch (error) {
      await this.close()
      throw error
    }
  }

  async execute(command: Command): Promise<void> {
    switch (command.name) {
      case 'identities':
        this.#identities?.replace(command.identities)
        break
      case 'upstreams':
        this.#cache.moveTo(spaceOf(command.upstreams))
        // those that are gone still answer what they were asked: nobody has to wait for that
        void this.#upstream.reconfigure(this.#makeServers(command.upstreams))
        break
      case 'drain':
        await this.drain(command.deadlineMs)
        break
      case 'close':
        await this.close()
    }
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
    await this.#upstream.close()
  }

  async #bind(): Promise<void> {
    for (let wait = FIRST_WAIT_MS; ; wait *= 2) {
      try {
        return await this.#transports.start()
      } catch (error) {
        if (!this.#setup.takesOver || !isAddressInUse(error) || wait > LAST_WAIT_MS) throw error
        await sleep(wait)
      }
    }
  }

  #makeServers(targets: readonly UpstreamTarget[]) {
    return targets.map((target) => makeUpstreamServer(target, this.#upstreamDependencies))
  }

  #assemblePipeline(shared: { clock: Clock; wheel: Wheel }): Pipeline {
    const cache = this.#cache
    const { log, edns, timeouts } = this.#setup.config
    const wantsLog = log.queries.kind === 'errors' || log.queries.share > 0
    const observer = combine([this.#telemetry, ...(wantsLog ? [new QueryLog(this.#log, log.queries)] : [])])
    return new Pipeline(
      (settler) => {
        const forward = new ForwardStage({ ...shared, upstream: this.#upstream, cache, settler })
        return [
          new ShapeStage(edns), // first, so that every answer passes it on its way out
          new AccessStage(), // before any octet of the message is read
          new AcceptStage(), // from here on the query is well-formed
          new SpecialNamesStage(), // before anybody else could hear of the name
          new CacheStage(cache, forward), // what is known need not be asked
          forward,
        ]
      },
      { clock: monotonicClock, observer, queryTimeoutMs: timeouts.queryMs },
    )
  }
}

function makeIdentityStore(identities: readonly Identity[], { tls, public: { name } }: Config): IdentityStore {
  return new IdentityStore(identities, { policy: tlsPolicy(tls), extraNames: name === null ? [] : [name] })
}
