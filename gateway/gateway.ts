import type { Logger } from 'pino'
import type { Endpoint } from '../net/address.ts'
import { monotonicClock } from '../net/clock.ts'
import { Flusher } from '../net/flusher.ts'
import { Wheel } from '../net/wheel.ts'
import { AdminServer } from './admin/server.ts'
import { assembleIdentities, type IdentityAssembly } from './assembly/identities.ts'
import { assembleQuic } from './assembly/quic.ts'
import { assembleTransports, type BoundEndpoints, listenWarnings, type TransportAssembly } from './assembly/transports.ts'
import { assembleUpstream, type UpstreamAssembly } from './assembly/upstreams.ts'
import type { Config } from './config/config.ts'
import { Pipeline } from './pipeline.ts'
import { AcceptStage } from './stages/accept.ts'
import { AccessStage } from './stages/access.ts'
import { ForwardStage } from './stages/forward.ts'
import { ShapeStage } from './stages/shape.ts'
import { SpecialNamesStage } from './stages/special-names.ts'
import { openState, type State } from './state.ts'
import { combine } from './telemetry/observers.ts'
import { QueryLog } from './telemetry/query-log.ts'
import { Telemetry } from './telemetry/telemetry.ts'

/** What an operator wants to know of a gateway that runs. */
export interface GatewayFacts {
  readonly endpoints: BoundEndpoints
  readonly admin: Endpoint | null
  readonly upstreams: readonly string[]
  readonly localCa: IdentityAssembly['localCa']
}

/** Starts a gateway, or throws an OperationalError and leaves nothing behind: no socket, no lock. */
export async function startGateway(config: Config, log: Logger): Promise<Gateway> {
  const state = openState(config.state)
  try {
    const gateway = new Gateway(config, log, { state, identities: await assembleIdentities(config, log) })
    await gateway.start()
    return gateway
  } catch (error) {
    state.release()
    throw error
  }
}

/** The whole gateway: makes the parts, joins them, starts and ends them in the right order. */
export class Gateway {
  readonly #config: Config
  readonly #log: Logger
  readonly #clock = monotonicClock
  readonly #telemetry = new Telemetry()
  readonly #state: State
  readonly #identities: IdentityAssembly | null
  readonly #upstream: UpstreamAssembly
  readonly #pipeline: Pipeline
  readonly #transports: TransportAssembly
  readonly #admin: AdminServer
  #ready = false

  constructor(config: Config, log: Logger, parts: { state: State; identities: IdentityAssembly | null }) {
    this.#config = config
    this.#log = log
    this.#state = parts.state
    this.#identities = parts.identities
    const shared = { clock: this.#clock, wheel: new Wheel(this.#clock), flusher: new Flusher() }
    this.#upstream = assembleUpstream(config, { ...shared, log, meter: (name) => this.#telemetry.upstreamMeter(name) })
    this.#pipeline = this.#assemblePipeline()
    this.#transports = assembleTransports(config, {
      ...shared,
      acceptor: this.#pipeline,
      identities: parts.identities?.store ?? null,
      quic: assembleQuic(config, log, shared),
      log,
      meter: (traits) => this.#telemetry.transportMeter(traits),
    })
    this.#admin = new AdminServer({ isReady: () => this.#ready, metrics: () => this.#renderMetrics() })
  }

  get facts(): GatewayFacts {
    return {
      endpoints: this.#transports.endpoints,
      admin: this.#admin.endpoint,
      upstreams: this.#upstream.names,
      localCa: this.#identities?.localCa ?? null,
    }
  }

  /** Takes nothing new, answers what is open, ends; within the configured deadline. */
  async drain(): Promise<void> {
    this.#ready = false
    this.#log.info({ open: this.#pipeline.open }, 'draining')
    await this.#transports.drain(this.#config.timeouts.drainMs)
    await this.close()
  }

  /** Ends at once. */
  async close(): Promise<void> {
    this.#ready = false
    this.#identities?.stop()
    this.#upstream.stop()
    await Promise.all([this.#transports.close(), this.#admin.close()])
    await this.#upstream.upstream.close()
    this.#state.release()
  }

  /** Binds everything, or closes again and throws. */
  async start(): Promise<void> {
    for (const warning of listenWarnings(this.#config)) this.#log.warn(warning)
    try {
      await this.#transports.start()
      if (this.#config.listen.admin !== null) await this.#admin.listen(this.#config.listen.admin)
    } catch (error) {
      await this.close()
      throw error
    }
    this.#ready = true
  }

  #assemblePipeline(): Pipeline {
    const { log, edns, timeouts } = this.#config
    const wantsLog = log.queries.kind === 'errors' || log.queries.share > 0
    const observer = combine([this.#telemetry, ...(wantsLog ? [new QueryLog(this.#log, log.queries)] : [])])
    return new Pipeline(
      (settler) => [
        new ShapeStage(edns), // first, so that every answer passes it on its way out
        new AccessStage(), // before any octet of the message is read
        new AcceptStage(), // from here on the query is well-formed
        new SpecialNamesStage(), // before anybody else could hear of the name
        new ForwardStage(this.#upstream.upstream, settler),
      ],
      { clock: this.#clock, observer, queryTimeoutMs: timeouts.queryMs },
    )
  }

  #renderMetrics(): string {
    const certificates = this.#identities?.store.expiries() ?? []
    return this.#telemetry.render({ open: this.#pipeline.open, certificates, wallClock: Date.now() })
  }
}
