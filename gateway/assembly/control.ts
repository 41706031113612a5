import type { Logger } from 'pino'
import { nameOf } from '../../certs/lifetime.ts'
import type { CertificateState } from '../../certs/provider.ts'
import { OperationalError } from '../../dns/operational-error.ts'
import { nameText, parseNameText } from '../../dns/text-name.ts'
import { canonicalAddress } from '../../net/address.ts'
import { monotonicClock } from '../../net/clock.ts'
import type {
  CachedNameView,
  CacheStatus,
  CertificateStatus,
  ConfigurationView,
  Control,
  ControlEvent,
  LastReload,
  ListenerStatus,
  PurgeOutcome,
  PurgeTarget,
  ReloadOutcome,
  RenewalOutcome,
  RollOverOutcome,
  Status,
  UpstreamStatus,
} from '../admin/control.ts'
import { VERSION } from '../cli/version.ts'
import { formOf } from '../config/form.ts'
import type { Events } from '../events.ts'
import type { ProbeReport } from '../probe/prober.ts'
import { targetKey } from '../probe/target.ts'
import type { Slab } from '../telemetry/slab.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { CacheAssembly } from './cache.ts'
import type { CertificateWatch } from './certificate-watch.ts'
import { cachedNameView, certificateStatus, listenerStatus, probeSeries } from './control-views.ts'
import { Counters } from './counters.ts'
import { type HealthWatch, stateOf } from './health-watch.ts'
import type { LocalCaFacts } from './identities.ts'
import type { Prepared } from './prepare.ts'
import { Renewals } from './renewals.ts'
import type { BoundEndpoints } from './transports.ts'
import { urlOf } from './upstream-choice.ts'

export type Phase = 'starting' | 'serving' | 'ending'

/** The gateway at one moment. */
export interface GatewayView {
  readonly prepared: Prepared
  readonly endpoints: BoundEndpoints
  readonly certificates: readonly CertificateState[]
  readonly localCa: LocalCaFacts | null
  readonly phase: Phase
  readonly lastReload: LastReload | null
  /** Upstreams that are not asked, by name. */
  readonly disabled: ReadonlySet<string>
  readonly probes: readonly ProbeReport[]
  /** How often a socket was bound anew. */
  readonly rebinds: number
  readonly workers: readonly { readonly restarts: number; readonly serving: boolean }[]
}

export interface ControlSource {
  /** Absolute path of the configuration file, if there is one. */
  readonly file: string | null
  view(): GatewayView
  readonly telemetry: Telemetry
  readonly slabs: readonly Slab[]
  readonly cache: CacheAssembly
  readonly health: HealthWatch
  readonly certificates: CertificateWatch
  readonly events: Events
  readonly log: Logger
  reload(options: { readonly dryRun: boolean }): Promise<ReloadOutcome>
  drain(): void
  /** Resolves when the new certificate of this name is served. Throws OperationalError. */
  renewCertificate(name: string): Promise<void>
  /** Throws OperationalError. */
  rollOverAccount(name: string): Promise<void>
  /** False: there is no such upstream. */
  enableUpstream(name: string, enabled: boolean): Promise<boolean>
}

/** The gateway as the admin door sees it. */
export class GatewayControl implements Control {
  readonly #source: ControlSource
  readonly #counters: Counters
  readonly #renewals: Renewals
  readonly #startedAt = new Date()
  readonly #since = performance.now()
  #isReloading = false

  constructor(source: ControlSource) {
    this.#source = source
    this.#counters = new Counters(source.telemetry, source.slabs)
    this.#renewals = new Renewals({ log: source.log, renew: (name) => source.renewCertificate(name) })
  }

  status(): Status {
    const { prepared, phase, lastReload, workers } = this.#source.view()
    const reasons = this.unreadiness()
    return {
      version: VERSION,
      pid: process.pid,
      startedAt: this.#startedAt.toISOString(),
      uptimeSeconds: Math.round((performance.now() - this.#since) / 1000),
      configFile: this.#source.file,
      stateDirectory: prepared.config.state,
      ready: reasons.length === 0,
      draining: phase === 'ending',
      reasons,
      warnings: this.#source.certificates.warnings,
      lastReload,
      workers: workers.map((worker, index) => ({ index, ...worker, eventLoop: this.#counters.eventLoop(index) })),
      traffic: this.#counters.traffic(),
      cache: this.cacheStatistics(),
    }
  }

  configuration(): ConfigurationView {
    return { file: this.#source.file, settings: formOf(this.#source.view().prepared.config) }
  }

  async reload(options: { readonly dryRun: boolean }): Promise<ReloadOutcome> {
    if (this.#isReloading) return { outcome: 'busy', message: 'another reload is under way' }
    this.#isReloading = true
    try {
      return await this.#source.reload(options)
    } finally {
      this.#isReloading = false
    }
  }

  drain(): void {
    this.#source.drain()
  }

  listeners(): readonly ListenerStatus[] {
    const { endpoints, probes } = this.#source.view()
    return listenerStatus(endpoints, probes)
  }

  upstreams(): readonly UpstreamStatus[] {
    const { prepared, disabled } = this.#source.view()
    return prepared.upstreams.targets.map(({ server }) => {
      const ways = this.#source.health.waysOf(server.name)
      return {
        name: server.name,
        url: urlOf(server),
        enabled: !disabled.has(server.name),
        state: stateOf(ways),
        ways,
        ...this.#counters.upstream(server.name),
      }
    })
  }

  async enableUpstream(name: string, enabled: boolean): Promise<UpstreamStatus | null> {
    if (!(await this.#source.enableUpstream(name, enabled))) return null
    return this.upstreams().find((upstream) => upstream.name === name) ?? null
  }

  cacheStatistics(): CacheStatus {
    const { entries, bytesUsed, bytes } = this.#source.cache.statistics
    return { entries, bytesUsed, bytes, ...this.#counters.cache() }
  }

  lookUp(name: string): CachedNameView | null {
    const wire = parseNameText(name)
    if (wire === null) return null
    return cachedNameView(nameText(wire, 0) ?? name, this.#source.cache.inspector.lookUp(wire, monotonicClock()))
  }

  async purge(what: PurgeTarget): Promise<PurgeOutcome | null> {
    const { cache, events } = this.#source
    const wire = what.kind === 'all' ? null : parseNameText(what.name)
    if (what.kind !== 'all' && wire === null) return null
    const outcome = await cache.purge(what.kind, wire)
    const name = wire === null ? null : nameText(wire, 0)
    events.emit('cache', `thrown out of the cache: ${outcome.entries} entries`, { kind: what.kind, name, ...outcome })
    return outcome
  }

  certificates(): readonly CertificateStatus[] {
    const { certificates, localCa } = this.#source.view()
    return certificates.map((certificate) =>
      certificateStatus(certificate, { localCa, renewal: this.#renewals.of(nameOf(certificate)), now: Date.now() }),
    )
  }

  async renewCertificate(text: string): Promise<RenewalOutcome> {
    const { phase } = this.#source.view()
    if (phase !== 'serving') return { outcome: 'busy', message: `the gateway is ${phase}` }
    const found = this.#certificateOf(text)
    if (found === null) return { outcome: 'unknown' }
    const renewal = await this.#renewals.ask(nameOf(found))
    if (renewal.outcome === 'failed') return { outcome: 'failed', message: renewal.message ?? '' }
    // a reload may have taken it away meanwhile
    const certificate = this.certificates().find(({ name }) => name === nameOf(found))
    return certificate === undefined ? { outcome: 'unknown' } : { outcome: renewal.outcome, certificate }
  }

  async rollOverAccount(text: string): Promise<RollOverOutcome> {
    const { phase } = this.#source.view()
    if (phase !== 'serving') return { outcome: 'busy', message: `the gateway is ${phase}` }
    const found = this.#certificateOf(text)
    if (found === null) return { outcome: 'unknown' }
    try {
      await this.#source.rollOverAccount(nameOf(found))
      return { outcome: 'done' }
    } catch (error) {
      if (!(error instanceof OperationalError)) throw error
      return { outcome: 'failed', message: error.message }
    }
  }

  #certificateOf(text: string): CertificateState | null {
    const wanted = canonicalAddress(text.toLowerCase().replace(/\.$/, ''))
    return this.#source.view().certificates.find(({ names }) => names.includes(wanted)) ?? null
  }

  unreadiness(): readonly string[] {
    const { phase, workers, probes } = this.#source.view()
    if (phase !== 'serving') return [`the gateway is ${phase}`]
    if (!workers.some(({ serving }) => serving)) return ['no worker serves']
    return probes.flatMap(({ target, status }) => {
      if (status.outcome === 'failed') return [`${targetKey(target)} does not answer: ${status.reason}`]
      return status.outcome === 'pending' ? [`${targetKey(target)} was not probed yet`] : []
    })
  }

  metrics(): string {
    const { telemetry, slabs, cache } = this.#source
    const { probes, rebinds } = this.#source.view()
    return telemetry.render(slabs, {
      certificates: this.#source.certificates.series(),
      probes: probes.map(probeSeries),
      upstreams: this.#source.health.series(),
      rebinds,
      cache: cache.statistics,
    })
  }

  follow(listener: (event: ControlEvent) => void): () => void {
    return this.#source.events.follow(listener)
  }
}
