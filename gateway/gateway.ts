import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { OperationalError } from '../dns/operational-error.ts'
import { type Endpoint, formatEndpoint } from '../net/address.ts'
import type { LastReload, ReloadOutcome } from './admin/control.ts'
import { AdminDoors } from './admin/doors.ts'
import { Bootstrap } from './assembly/bootstrap.ts'
import { CacheAssembly } from './assembly/cache.ts'
import { CertificateWatch } from './assembly/certificate-watch.ts'
import { ChallengeSolvers } from './assembly/challenge-solvers.ts'
import { GatewayControl, type GatewayView, type Phase } from './assembly/control.ts'
import { DnsChallenges } from './assembly/dns-challenges.ts'
import { HealthRows } from './assembly/health-rows.ts'
import { HealthWatch } from './assembly/health-watch.ts'
import type { IdentityAssembly } from './assembly/identities.ts'
import { spreadsClients, withUsableListeners } from './assembly/listeners.ts'
import { type Prepared, prepare } from './assembly/prepare.ts'
import { quicDirectory } from './assembly/quic.ts'
import { type Reloadable, reload } from './assembly/reload.ts'
import { fingerprintOf, routingPlan } from './assembly/routing-plan.ts'
import { Served } from './assembly/served.ts'
import type { BoundEndpoints } from './assembly/transports.ts'
import { urlOf } from './assembly/upstream-choice.ts'
import type { Config } from './config/config.ts'
import type { LoadedConfig } from './config/load.ts'
import type { WorkerSetup } from './data-plane.ts'
import { Events } from './events.ts'
import { lazyAsk } from './probe/lazy-ask.ts'
import { type ProbeReport, Prober, type ProberTimes } from './probe/prober.ts'
import { admitsOurselves, type ProbeTarget } from './probe/target.ts'
import { openState, type State } from './state.ts'
import { Slab } from './telemetry/slab.ts'
import { type RestartReason, Telemetry } from './telemetry/telemetry.ts'
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
  /** What is wrong although it serves, one sentence each. */
  readonly warnings: readonly string[]
}

export interface GatewayOptions {
  readonly launcher: Launcher
  /** How the configuration is read anew. */
  readonly source: { readonly file: string | null; load(): LoadedConfig }
  readonly supervision?: Supervision
  /** How the gateway asks its own listeners; null: not at all. */
  readonly probing?: Probing | null
}

export interface Probing {
  readonly timeoutMs?: number
  readonly times?: ProberTimes
}

/** Nobody guesses it, so nobody else learns by it how many workers there are. */
const PROBE_TOKEN_OCTETS = 16

/** Starts a gateway, or throws an OperationalError and leaves nothing behind: no socket, no lock, no thread. */
export async function startGateway(config: Config, log: Logger, options: GatewayOptions): Promise<Gateway> {
  const { launcher, source, supervision = SUPERVISION, probing = {} } = options
  const state = openState(config.state)
  const workers = spreadsClients() ? config.workers : 1
  if (workers < config.workers) log.info({ workers }, 'one worker: this system does not spread connections over several')
  let gateway: Gateway | null = null
  try {
    launcher.prepare(workers, quicDirectory(config))
    const prepared = await prepare({ ...withUsableListeners(config), workers }, { isStart: true })
    for (const warning of prepared.warnings) log.warn(warning)
    gateway = new Gateway(prepared, log, { launcher, source, supervision, probing, state, started: config })
    await gateway.start()
    return gateway
  } catch (error) {
    await gateway?.close()
    await launcher.close()
    state.release()
    throw error
  }
}

interface GatewayDependencies extends Required<GatewayOptions> {
  readonly state: State
  readonly started: Config
}

/** The main thread: what there is once, and the workers that serve. */
export class Gateway {
  readonly #log: Logger
  readonly #source: GatewayOptions['source']
  readonly #state: State
  /** The configuration as it was at start. */
  readonly #started: Config
  readonly #memory: SharedMemory
  readonly #health = new HealthRows()
  readonly #cache: CacheAssembly
  readonly #telemetry = new Telemetry(new Slab(Slab.allocate()))
  readonly #probeToken = randomBytes(PROBE_TOKEN_OCTETS).toString('hex')
  readonly #supervisor: Supervisor
  readonly #prober: Prober
  readonly #events = new Events()
  readonly #watch: HealthWatch
  readonly #certificates: CertificateWatch
  readonly #control: GatewayControl
  readonly #doors: AdminDoors
  readonly #drainAsked = Promise.withResolvers<void>()
  readonly #served: Served
  /** How CAs are shown that names are ours. */
  readonly solvers: ChallengeSolvers
  #phase: Phase = 'starting'
  #lastReload: LastReload | null = null
  /** By worker. */
  readonly #restarts: number[]

  constructor(prepared: Prepared, log: Logger, { state, started, launcher, source, supervision, probing }: GatewayDependencies) {
    const { config, upstreams } = prepared
    this.#started = started
    this.#log = log
    this.#source = source
    this.#state = state
    this.#memory = new SharedMemory(config.workers)
    this.#restarts = Array.from({ length: config.workers }, () => 0)
    this.#cache = new CacheAssembly(config, {
      fingerprint: fingerprintOf(
        routingPlan(config, { targets: upstreams.targets, disabled: new Set(), before: null, addressesOf: () => [], rows: this.#health }),
      ),
      log,
    })
    this.#supervisor = new Supervisor({
      workers: config.workers,
      launcher,
      setupOf: (place) => this.#setupOf(place),
      beats: this.#memory.beats,
      onEnded: (index) => this.#tidyUp(index),
      onReplaced: (worker, reason) => this.#noteReplacement(worker, reason),
      meter: this.#telemetry.workerMeter(),
      log,
      times: supervision,
    })
    const dns = new DnsChallenges({
      config: () => this.#served.prepared.config,
      meter: (traits) => this.#telemetry.transportMeter(traits),
      log,
    })
    this.solvers = new ChallengeSolvers({ supervisor: this.#supervisor, dns })
    this.#prober = new Prober({
      ...probing,
      ask: lazyAsk({ ...probing, token: this.#probeToken, keyDirectory: quicDirectory(config) }),
      workers: config.workers,
      isServing: (worker) => this.#supervisor.isLively(worker),
      isAdmitted: (target) => admitsOurselves(target, this.#served.prepared.config),
      rebind: (worker, target) => this.#rebind(worker, target),
      onChanged: (report) => this.#noteProbe(report),
    })
    this.#watch = new HealthWatch({ rows: this.#health, log, events: this.#events, upstreams: () => this.#served.upstreams })
    this.#certificates = new CertificateWatch({
      certificates: () => this.#served.identities.certificates,
      log,
      events: this.#events,
      meter: this.#telemetry.certificateMeter(),
      clock: Date.now,
    })
    this.#control = new GatewayControl({
      file: source.file,
      view: () => this.#view(),
      telemetry: this.#telemetry,
      slabs: this.#memory.slabs,
      cache: this.#cache,
      health: this.#watch,
      certificates: this.#certificates,
      events: this.#events,
      log,
      reload: (options) => this.reload(options),
      drain: () => this.#drainAsked.resolve(),
      renewCertificate: (name) => this.#served.renewCertificate(name),
      rollOverAccount: (name) => this.#served.identities.rollOver(name),
      enableUpstream: (name, enabled) => this.#served.enableUpstream(name, enabled),
    })
    this.#doors = new AdminDoors(this.#control, log)
    this.#served = new Served(prepared, {
      stateDir: state.directory,
      log,
      events: this.#events,
      supervisor: this.#supervisor,
      doors: this.#doors,
      cache: this.#cache,
      rows: this.#health,
      bootstrap: new Bootstrap({ log }),
      certificates: this.#certificates,
      prober: probing === null ? null : this.#prober,
      solverOf: (acme) => this.solvers.open(acme),
    })
  }

  get facts(): GatewayFacts {
    const { facts, identities, prepared } = this.#served
    return {
      endpoints: facts.endpoints,
      admin: this.#doors.endpoint,
      upstreams: prepared.upstreams.targets.map(({ server }) => urlOf(server)),
      localCa: identities.localCa,
      warnings: this.#certificates.warnings,
    }
  }

  /** Resolves when the admin door was asked for the end; drain() is then due. */
  get drainAsked(): Promise<void> {
    return this.#drainAsked.promise
  }

  /** Serves as the configuration says then, once the changes under way are over. What is wrong is in the outcome, and then everything is as it was. */
  async reload({ dryRun }: { dryRun: boolean }): Promise<ReloadOutcome> {
    if (this.#phase !== 'serving') return { outcome: 'busy', message: 'the gateway is starting or ending' }
    const outcome = await this.#served.change(() => reload(this.#reloadable(), { dryRun }))
    if (!dryRun) this.#noteReload(outcome)
    return outcome
  }

  /** Takes nothing new, answers what is open, ends; within the configured deadline. */
  async drain(): Promise<void> {
    this.#phase = 'ending'
    this.#events.emit('drain', 'the gateway drains')
    void this.#prober.stop()
    const { drainMs } = this.#served.prepared.config.timeouts
    // a reload under way comes to its end first, if that does not take too long
    await Promise.race([this.#served.stop(), sleep(drainMs, undefined, { ref: false })])
    await this.#supervisor.drain(drainMs)
    await this.#cache.persist()
    await this.close()
  }

  /** Ends at once. */
  async close(): Promise<void> {
    this.#phase = 'ending'
    void this.#served.stop()
    void this.#prober.stop()
    this.#watch.stop()
    this.#certificates.stop()
    this.#cache.close()
    await Promise.all([this.#supervisor.close(), this.#doors.close()])
    this.#state.release()
  }

  /** Loads and binds everything; after an error close() is due. */
  async start(): Promise<void> {
    await this.#served.start(() => this.#cache.restore())
    this.#certificates.look()
    await this.#openSocket()
    this.#phase = 'serving'
    // the first round does not delay the first clients
    setImmediate(() => this.#prober.start())
    setImmediate(() => void this.#doors.preload())
  }

  async #openSocket(): Promise<void> {
    try {
      await this.#doors.openSocket(join(this.#state.directory, 'admin.sock'))
    } catch (error) {
      // to serve is worth more than to be administered
      if (!(error instanceof OperationalError)) throw error
      this.#log.error({ reason: error.message }, 'the commands that talk to the gateway will not find it')
    }
  }

  #setupOf({ index, isReplacement }: WorkerPlace): WorkerSetup {
    return {
      ...this.#served.settingsOf(index),
      index,
      reusePort: this.#served.prepared.config.workers > 1,
      quic: index === 0,
      takesOver: isReplacement,
      challenges: this.solvers.tlsAlpn.certificates,
      probeToken: this.#probeToken,
      memory: this.#memory.of(index),
      health: this.#health.memory,
      cache: this.#cache.of(index),
    }
  }

  #reloadable(): Reloadable {
    return {
      prepared: this.#served.prepared,
      started: this.#started,
      load: () => this.#source.load(),
      check: (next) => this.#served.check(next),
      apply: (next) => this.#served.apply(next),
    }
  }

  #noteReload(outcome: ReloadOutcome): void {
    if (outcome.outcome === 'busy') return
    const message = 'message' in outcome ? outcome.message : null
    this.#lastReload = { at: new Date().toISOString(), outcome: outcome.outcome, message }
    this.#events.emit('reload', message ?? `the configuration is ${outcome.outcome}`, { outcome: outcome.outcome })
    if ('code' in outcome) {
      this.#log.error({ code: outcome.code, reason: outcome.message }, 'the configuration was not changed: the one in use stays')
      return
    }
    for (const warning of outcome.warnings) this.#log.warn(warning)
    const facts = { outcome: outcome.outcome, changes: outcome.changes.length, restartOnly: outcome.restartOnly.map(({ path }) => path) }
    this.#log.info(facts, 'the configuration was read anew')
  }

  #noteReplacement(worker: number, reason: RestartReason): void {
    this.#restarts[worker] = (this.#restarts[worker] ?? 0) + 1
    this.#events.emit('worker', `worker ${worker} has ${ENDINGS[reason]}: it is replaced`, { worker, reason })
  }

  async #rebind(worker: number, { transport, endpoint }: ProbeTarget): Promise<void> {
    const facts = { worker, transport, address: formatEndpoint(endpoint) }
    const message = 'a socket does not answer: it is bound anew'
    this.#log.error(facts, message)
    this.#events.emit('probe', message, facts)
    await this.#supervisor.tellOne(worker, { name: 'rebind', socket: transport, endpoint })
  }

  #noteProbe({ target, status }: ProbeReport): void {
    const facts = { transport: target.transport, address: formatEndpoint(target.endpoint), outcome: status.outcome, reason: status.reason }
    const message = status.outcome === 'failed' ? 'a listener does not answer its own gateway' : 'a listener answers its own gateway again'
    if (status.outcome === 'failed') this.#log.error(facts, message)
    this.#events.emit('probe', message, facts)
  }

  #tidyUp(index: number): void {
    this.#memory.release(index)
    this.#cache.release(index)
    const slab = this.#memory.slabs[index]
    if (slab !== undefined) this.#telemetry.forgetOpen(slab)
  }

  #view(): GatewayView {
    const { prepared, facts, identities, disabled } = this.#served
    return {
      prepared,
      endpoints: facts.endpoints,
      certificates: identities.certificates,
      localCa: identities.localCa,
      phase: this.#phase,
      lastReload: this.#lastReload,
      disabled,
      probes: this.#prober.reports,
      rebinds: this.#prober.rebinds,
      workers: this.#restarts.map((restarts, index) => ({ restarts, serving: this.#supervisor.isServing(index) })),
    }
  }
}

const ENDINGS = { crashed: 'crashed', unresponsive: 'ceased to respond' } as const
