import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import { expiriesOf } from '../certs/identity.ts'
import type { Endpoint } from '../net/address.ts'
import { AdminServer } from './admin/server.ts'
import { CacheAssembly } from './assembly/cache.ts'
import { assembleIdentities, type IdentityAssembly } from './assembly/identities.ts'
import { claimAddresses, listenWarnings, spreadsClients, withBoundPorts, withUsableListeners } from './assembly/listeners.ts'
import { quicDirectory } from './assembly/quic.ts'
import { spaceOf } from './assembly/space.ts'
import type { BoundEndpoints } from './assembly/transports.ts'
import { UpstreamAssembly } from './assembly/upstream-choice.ts'
import type { Config } from './config/config.ts'
import type { WorkerSetup } from './data-plane.ts'
import { openState, type State } from './state.ts'
import { Slab } from './telemetry/slab.ts'
import { Telemetry } from './telemetry/telemetry.ts'
import { SharedMemory } from './workers/memory.ts'
import type { Launcher } from './workers/protocol.ts'
import { SUPERVISION, type Supervision } from './workers/seat.ts'
import { Supervisor, type WorkerPlace } from './workers/supervisor.ts'

/** What an operator wants to know of a gateway that runs. */
export interface GatewayFacts {
  readonly endpoints: BoundEndpoints
  readonly admin: Endpoint | null
  readonly upstreams: readonly string[]
  readonly localCa: IdentityAssembly['localCa']
}

export interface GatewayOptions {
  readonly launcher: Launcher
  readonly supervision?: Supervision
}

/** 48 octets are what OpenSSL makes a ticket key of: its name, and the keys of HMAC and AES. */
const TICKET_KEYS_OCTETS = 48

/** Starts a gateway, or throws an OperationalError and leaves nothing behind: no socket, no lock, no thread. */
export async function startGateway(config: Config, log: Logger, options: GatewayOptions): Promise<Gateway> {
  const { launcher, supervision = SUPERVISION } = options
  const state = openState(config.state)
  const workers = spreadsClients() ? config.workers : 1
  if (workers < config.workers) log.info({ workers }, 'one worker: this system does not spread connections over several')
  let gateway: Gateway | null = null
  try {
    launcher.prepare(workers, quicDirectory(config))
    gateway = new Gateway({ ...withUsableListeners(config), workers }, log, { launcher, supervision, state })
    await gateway.start()
    return gateway
  } catch (error) {
    await gateway?.close()
    await launcher.close()
    state.release()
    throw error
  }
}

/** The main thread: what there is once, and the workers that serve. */
export class Gateway {
  readonly #config: Config
  readonly #log: Logger
  readonly #state: State
  readonly #memory: SharedMemory
  readonly #upstreams: UpstreamAssembly
  readonly #cache: CacheAssembly
  readonly #telemetry = new Telemetry(new Slab(Slab.allocate()))
  readonly #ticketKeys = randomBytes(TICKET_KEYS_OCTETS)
  readonly #supervisor: Supervisor
  readonly #admin: AdminServer
  #identities: IdentityAssembly = { identities: [], localCa: null, stop: () => {} }
  #endpoints: BoundEndpoints = { dns: [], dot: [], doq: [], doh: [] }
  #ready = false

  constructor(config: Config, log: Logger, { state, launcher, supervision }: Required<GatewayOptions> & { state: State }) {
    this.#config = config
    this.#log = log
    this.#state = state
    this.#memory = new SharedMemory(config.workers)
    this.#upstreams = new UpstreamAssembly(config, log)
    this.#cache = new CacheAssembly(config, { space: spaceOf(this.#upstreams.targets), log })
    this.#supervisor = new Supervisor({
      workers: config.workers,
      launcher,
      setupOf: (place) => this.#setupOf(place),
      beats: this.#memory.beats,
      onEnded: (index) => this.#tidyUp(index),
      meter: this.#telemetry.workerMeter(),
      log,
      times: supervision,
    })
    this.#admin = new AdminServer({ isReady: () => this.#ready, metrics: () => this.#renderMetrics() })
  }

  get facts(): GatewayFacts {
    return {
      endpoints: this.#endpoints,
      admin: this.#admin.endpoint,
      upstreams: this.#upstreams.names,
      localCa: this.#identities.localCa,
    }
  }

  /** Takes nothing new, answers what is open, ends; within the configured deadline. */
  async drain(): Promise<void> {
    this.#ready = false
    await this.#supervisor.drain(this.#config.timeouts.drainMs)
    await this.#cache.persist()
    await this.close()
  }

  /** Ends at once. */
  async close(): Promise<void> {
    this.#ready = false
    this.#identities.stop()
    this.#upstreams.stop()
    this.#cache.close()
    await Promise.all([this.#supervisor.close(), this.#admin.close()])
    this.#state.release()
  }

  /** Loads and binds everything; after an error close() is due. */
  async start(): Promise<void> {
    const config = this.#config
    for (const warning of listenWarnings(config)) this.#log.warn(warning)
    const tell = this.#supervisor.tell.bind(this.#supervisor)
    this.#upstreams.follow((upstreams) => {
      this.#cache.moveTo(spaceOf(upstreams))
      void tell({ name: 'upstreams', upstreams })
    })
    const onRenewed = (identities: IdentityAssembly['identities']) => void tell({ name: 'identities', identities })
    this.#identities = await assembleIdentities(config, { log: this.#log, onRenewed })
    if (config.workers > 1) await claimAddresses(config)
    const started = this.#supervisor.start()
    // while the workers bind
    this.#cache.restore()
    const { endpoints } = await started
    this.#endpoints = endpoints
    if (config.listen.admin !== null) await this.#admin.listen(config.listen.admin)
    this.#ready = true
  }

  #setupOf({ index, isReplacement, first }: WorkerPlace): WorkerSetup {
    const config = this.#config
    return {
      config: first === null ? config : withBoundPorts(config, first.endpoints),
      index,
      reusePort: config.workers > 1,
      quic: index === 0,
      http3Elsewhere: first?.http3 ?? false,
      takesOver: isReplacement,
      identities: this.#identities.identities,
      ticketKeys: this.#ticketKeys,
      upstreams: this.#upstreams.targets,
      memory: this.#memory.of(index),
      cache: this.#cache.of(index),
    }
  }

  #tidyUp(index: number): void {
    this.#memory.release(index)
    this.#cache.release(index)
    const slab = this.#memory.slabs[index]
    if (slab !== undefined) this.#telemetry.forgetOpen(slab)
  }

  #renderMetrics(): string {
    const certificates = expiriesOf(this.#identities.identities)
    return this.#telemetry.render(this.#memory.slabs, { certificates, cache: this.#cache.statistics, wallClock: Date.now() })
  }
}
