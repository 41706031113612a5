import { isDeepStrictEqual } from 'node:util'
import type { Logger } from 'pino'
import type { Stapler } from '../../certs/ocsp/stapler.ts'
import type { CertificateObserver } from '../../certs/provider.ts'
import { DirectoryStorage, type Storage } from '../../certs/storage.ts'
import { OperationalError, reasonOf } from '../../dns/operational-error.ts'
import type { AdminDoors, DoorSettings } from '../admin/doors.ts'
import type { DataPlaneFacts, DataPlaneSettings } from '../data-plane.ts'
import type { Events } from '../events.ts'
import type { Prober } from '../probe/prober.ts'
import { type ProbeTarget, probeTargets, targetKey } from '../probe/target.ts'
import type { Supervisor } from '../workers/supervisor.ts'
import type { SolverFactory } from './acme.ts'
import type { Bootstrap } from './bootstrap.ts'
import type { CacheAssembly } from './cache.ts'
import type { CertificateWatch } from './certificate-watch.ts'
import type { HealthRows } from './health-rows.ts'
import { IdentityAssembly, type IdentitySource } from './identities.ts'
import { claimAddresses, refuseMoves, withBoundPorts } from './listeners.ts'
import { type Prepared, withCookieSecret } from './prepare.ts'
import { fingerprintOf, type RoutingPlan, routingPlan } from './routing-plan.ts'
import { openStapler } from './stapling.ts'
import { TicketKeys } from './ticket-keys.ts'
import { changedUpstreams, ResolvConfWatch, resolversOf } from './upstream-choice.ts'

interface ServedDependencies {
  readonly stateDir: string
  readonly log: Logger
  readonly events: Events
  readonly supervisor: Supervisor
  readonly doors: AdminDoors
  readonly cache: CacheAssembly
  readonly rows: HealthRows
  readonly bootstrap: Bootstrap
  readonly certificates: CertificateWatch
  /** Null: nothing is probed. */
  readonly prober: Prober | null
  readonly solverOf: SolverFactory
}

/** What the gateway serves with at the moment, and how that changes: one change after the other, each whole or not at all. */
export class Served {
  readonly #dependencies: ServedDependencies
  readonly #storage: Storage
  readonly #resolvConf = new ResolvConfWatch(() => void this.#followResolvConf())
  readonly #tickets: TicketKeys
  readonly #stapler: Stapler
  /** Upstreams that are not to be asked, by name. */
  readonly #disabled = new Set<string>()
  #prepared: Prepared
  #identities = IdentityAssembly.none()
  #plan: RoutingPlan
  /** What the first worker has bound. */
  #facts: DataPlaneFacts = NOTHING_BOUND
  #changes: Promise<unknown> = Promise.resolve()
  readonly #observer: CertificateObserver = {
    changed: (certificate) => {
      this.#dependencies.certificates.changed(certificate)
      void this.change(async () => {
        // a reload is to find what is served, not what the files held before
        this.#prepared = { ...this.#prepared, identities: this.#identities.source }
        this.#stapler.follow(this.#identities.identities)
        await this.#tellSettings()
      })
    },
    failed: (certificate) => this.#dependencies.certificates.failed(certificate),
  }

  constructor(prepared: Prepared, dependencies: ServedDependencies) {
    this.#prepared = prepared
    this.#dependencies = dependencies
    this.#storage = new DirectoryStorage(dependencies.stateDir)
    this.#plan = this.#planOf(prepared, null)
    this.#tickets = new TicketKeys({
      ...dependencies,
      onChanged: () => void this.change(() => this.#tellSettings()),
      onFileChanged: () => void this.#followTicketFile(),
    })
    this.#stapler = openStapler({ ...dependencies, onChanged: () => void this.change(() => this.#tellSettings()) })
    dependencies.bootstrap.onMoved = () => void this.#followHosts()
  }

  get prepared(): Prepared {
    return this.#prepared
  }

  get identities(): IdentityAssembly {
    return this.#identities
  }

  get facts(): DataPlaneFacts {
    return this.#facts
  }

  /** Those that are asked, and the ways to them. */
  get upstreams(): RoutingPlan['targets'] {
    return this.#plan.targets
  }

  get disabled(): ReadonlySet<string> {
    return this.#disabled
  }

  /** Starts the workers and opens the admin listener. `meanwhile` is run while they bind. */
  async start(meanwhile: () => void): Promise<void> {
    const { supervisor, doors } = this.#dependencies
    this.#prepared = await withCookieSecret(this.#prepared)
    const { config, identities } = this.#prepared
    this.#identities = await this.#assembleIdentities(identities)
    await this.#tickets.start()
    if (config.workers > 1) await claimAddresses(config, this.#facts.endpoints)
    await this.#dependencies.bootstrap.follow(config)
    this.#plan = this.#planOf(this.#prepared, this.#plan)
    const started = supervisor.start((facts) => {
      this.#facts = facts
    })
    meanwhile()
    await started
    this.#followProbes()
    await doors.reconfigure(doorOf(this.#prepared))
    this.#resolvConf.follow(config)
    this.#tickets.follow(config.tls.ticketKeyFile)
    this.#stapler.follow(this.#identities.identities)
  }

  /** Begins no more changes by itself; resolves when those that were begun are over. */
  async stop(): Promise<void> {
    this.#resolvConf.stop()
    this.#dependencies.bootstrap.stop()
    this.#stapler.stop()
    await Promise.all([this.#identities.stop(), this.#tickets.stop()])
    await this.#changes
  }

  /** Runs `change` when all that were begun before are over. */
  change<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#changes.then(change)
    this.#changes = result.catch(() => {})
    return result
  }

  /** What the worker of this place serves with, as things are. */
  settingsOf(index: number): DataPlaneSettings {
    const { config } = this.#prepared
    return {
      config: withBoundPorts(config, this.#facts.endpoints),
      identities: this.#identities.identities,
      localCa: this.#identities.localCa,
      cookieSecrets: this.#prepared.cookieSecrets,
      accessTokens: this.#prepared.accessTokens,
      clientCas: this.#prepared.clientCas,
      ticketKeys: this.#tickets.of(this.#prepared),
      staples: this.#stapler.staples,
      routing: this.#plan,
      http3Elsewhere: index > 0 && this.#facts.http3,
    }
  }

  #planOf({ config, upstreams: { targets } }: Prepared, before: RoutingPlan | null): RoutingPlan {
    const { bootstrap, rows } = this.#dependencies
    return routingPlan(config, { targets, disabled: this.#disabled, before, addressesOf: (host) => bootstrap.addressesOf(host), rows })
  }

  /** Throws OperationalError where `next` cannot take the place of what is served. */
  check(next: Prepared): void {
    refuseMoves(next.config, withBoundPorts(this.#prepared.config, this.#facts.endpoints).listen)
  }

  /** Serves as `next` says; throws OperationalError when that cannot be, and then everything is as it was. */
  async apply(next: Prepared): Promise<void> {
    const before = { prepared: this.#prepared, plan: this.#plan, identities: this.#identities, facts: this.#facts }
    const isSameSource = isDeepStrictEqual(before.identities.source, next.identities)
    // the local CA for other names is another one, and clients have to trust it anew: only once everything else has succeeded
    const isOtherCa = next.identities.local !== null && !isDeepStrictEqual(before.identities.source.local, next.identities.local)
    const isLate = isOtherCa && before.identities.identities.length > 0
    const door = await this.#dependencies.doors.prepare(doorOf(next))
    try {
      if (!isSameSource && !isLate) this.#identities = await this.#assembleIdentities(next.identities)
      await this.#serve(await withCookieSecret(next))
      await this.#probe(before.prepared)
      if (isLate) {
        this.#identities = await this.#assembleIdentities(next.identities)
        await this.#announce()
      }
    } catch (error) {
      door.abort()
      await this.#restore(before)
      throw operational(error)
    }
    door.commit()
    if (this.#identities !== before.identities) this.#giveUp(before.identities)
    this.#dependencies.log.level = next.config.log.level
    this.#resolvConf.follow(next.config)
    this.#tickets.follow(next.config.tls.ticketKeyFile)
    this.#stapler.follow(this.#identities.identities)
    this.#dependencies.cache.reconfigure(next.config, fingerprintOf(this.#plan))
    this.#followProbes()
    await this.#dependencies.supervisor.tell({ name: 'settle', deadlineMs: next.config.timeouts.drainMs })
    // old tickets resume whatever the certificates are: who was served by a name that is gone shall be told so
    if (hasLostNames(before.identities, this.#identities)) await this.#tickets.forget()
  }

  async #serve(next: Prepared): Promise<void> {
    if (next.config.workers > 1) await claimAddresses(next.config, this.#facts.endpoints)
    await this.#dependencies.bootstrap.follow(next.config)
    this.#prepared = next
    this.#plan = this.#planOf(next, this.#plan)
    await this.#dependencies.supervisor.reconfigure(
      (index) => this.settingsOf(index),
      (facts) => (this.#facts = facts),
    )
  }

  /** Throws where a listener does not answer that the change may have touched; one that did not answer before is not held against it. */
  async #probe(before: Prepared): Promise<void> {
    const { prober } = this.#dependencies
    if (prober === null) return
    const known = new Map(prober.reports.map(({ target, status }) => [targetKey(target), status.outcome]))
    // those that are about to go are still served, and known if all this is undone
    this.#followProbes(prober.reports.map(({ target }) => target))
    const isSameDoor = isDeepStrictEqual(doorstep(before), doorstep(this.#prepared))
    const isTouched = (target: ProbeTarget): boolean => {
      const outcome = known.get(targetKey(target))
      if (outcome === undefined) return true
      // behind the door all transports are alike, so the cheap ones speak for all
      return (outcome === 'ok' || outcome === 'refused') && (!isSameDoor || target.kind === 'dns')
    }
    const report = await prober.findDeaf(isTouched)
    if (report === null) return
    const reason = `${targetKey(report.target)} does not answer: ${report.status.reason}`
    throw new OperationalError('ATLAS_RELOAD', `Cannot serve with the new configuration: ${reason}`)
  }

  /** `besides`: others that are probed too. */
  #followProbes(besides: readonly ProbeTarget[] = []): void {
    const { doh, listen } = withBoundPorts(this.#prepared.config, this.#facts.endpoints)
    const cleartext = listen.doh.filter((entry) => entry.cleartext).map(({ endpoint }) => endpoint)
    const proxied = [...listen.dns, ...listen.dot, ...listen.doh].filter(({ proxyProtocol }) => proxyProtocol !== null)
    const targets = probeTargets(this.#facts, {
      identities: this.#identities.identities,
      paths: doh.paths,
      needsToken: this.#prepared.accessTokens !== null,
      cleartext,
      proxied: proxied.map(({ endpoint }) => endpoint),
      certified: listen.doh.filter(({ clientCa }) => clientCa !== null).map(({ endpoint }) => endpoint),
    })
    const keys = new Set(targets.map(targetKey))
    this.#dependencies.prober?.follow([...targets, ...besides.filter((target) => !keys.has(targetKey(target)))])
  }

  /** As it was before: what was bound for the new configuration is given up, nothing else is touched. */
  async #restore({
    prepared,
    plan,
    identities,
    facts,
  }: {
    prepared: Prepared
    plan: RoutingPlan
    identities: IdentityAssembly
    facts: DataPlaneFacts
  }): Promise<void> {
    const refused = this.#identities
    this.#identities = identities
    if (refused !== identities) this.#giveUp(refused)
    this.#prepared = prepared
    await this.#dependencies.bootstrap.follow(prepared.config)
    this.#plan = plan
    this.#facts = facts
    await this.#announce()
    this.#followProbes()
    await this.#dependencies.supervisor.tell({ name: 'settle', deadlineMs: 0 })
  }

  /** Tells the workers how things are; those that cannot do it are replaced. */
  async #announce(): Promise<void> {
    await this.#dependencies.supervisor.announce((index) => this.settingsOf(index))
  }

  /** The same, for good. */
  async #tellSettings(): Promise<void> {
    await this.#announce()
    this.#followProbes()
    await this.#dependencies.supervisor.tell({ name: 'settle', deadlineMs: this.#prepared.config.timeouts.drainMs })
  }

  #assembleIdentities(source: IdentitySource): Promise<IdentityAssembly> {
    const { stateDir, log, solverOf } = this.#dependencies
    const parts = { stateDir, storage: this.#storage, log, observer: this.#observer, solverOf }
    return IdentityAssembly.open(source, parts, this.#identities)
  }

  async #followResolvConf(): Promise<void> {
    await this.change(async () => {
      const { config, upstreams: before } = this.#prepared
      const upstreams = changedUpstreams(config, before)
      if (upstreams === null) return
      for (const warning of upstreams.warnings) this.#dependencies.log.warn(warning)
      this.#dependencies.log.info({ upstreams: resolversOf(upstreams) }, RESOLVERS_CHANGED)
      this.#dependencies.events.emit('upstreams', RESOLVERS_CHANGED, { upstreams: resolversOf(upstreams) })
      this.#prepared = { ...this.#prepared, upstreams }
      this.#plan = this.#planOf(this.#prepared, this.#plan)
      this.#dependencies.cache.reconfigure(config, fingerprintOf(this.#plan))
      await this.#tellSettings()
    })
  }

  /** What the present ones have not taken over of them ends; nothing waits for that. */
  #giveUp(identities: IdentityAssembly): void {
    identities.stop(this.#identities).catch((err: unknown) => {
      this.#dependencies.log.error({ err }, 'a source of certificates that is not configured any more could not be ended')
    })
  }

  #followTicketFile(): Promise<void> {
    return this.change(async () => {
      const prepared = this.#tickets.reread(this.#prepared)
      if (prepared === null) return
      this.#prepared = prepared
      await this.#tellSettings()
    })
  }

  /** The host of an upstream has other addresses. */
  #followHosts(): Promise<void> {
    return this.change(async () => {
      this.#plan = this.#planOf(this.#prepared, this.#plan)
      await this.#tellSettings()
    })
  }

  /**
   * Renews the certificate of this name; resolves when it is served. Outside of change(): a CA may take minutes, and nothing waits
   * for it but whoever asked. Throws OperationalError.
   */
  async renewCertificate(name: string): Promise<void> {
    await this.#identities.renew(name)
    await this.#changes
  }

  /** False: there is no such upstream. */
  enableUpstream(name: string, enabled: boolean): Promise<boolean> {
    return this.change(async () => {
      if (!this.#prepared.upstreams.targets.some(({ server }) => server.name === name)) return false
      if (enabled === !this.#disabled.has(name)) return true
      if (enabled) this.#disabled.delete(name)
      else this.#disabled.add(name)
      this.#plan = this.#planOf(this.#prepared, this.#plan)
      const message = `the upstream ${name} is ${enabled ? 'asked again' : 'not asked any more'}`
      this.#dependencies.log.warn({ upstream: name }, message)
      this.#dependencies.events.emit('upstream', message, { upstream: name, enabled })
      await this.#tellSettings()
      return true
    })
  }
}

const NOTHING_BOUND: DataPlaneFacts = { endpoints: { dns: [], dot: [], doq: [], doh: [] }, http3: false }
const RESOLVERS_CHANGED = 'the resolvers of resolv.conf have changed'

function doorOf({ config, token }: Prepared): DoorSettings | null {
  const {
    listen,
    public: { name },
  } = config
  if (listen.admin === null) return null
  const { endpoint, hosts } = listen.admin
  return { endpoint, token, hosts: name === null ? hosts : [...hosts, name] }
}

/** What may keep a client from being understood, besides its address: that is refused, which is an answer. */
function doorstep({ config: { tls, doh, timeouts }, identities, clientCas }: Prepared) {
  return [tls, doh, timeouts.handshakeMs, identities, clientCas]
}

/** Whether there is a name, or an address, that no certificate is for any more. */
function hasLostNames(before: IdentityAssembly, now: IdentityAssembly): boolean {
  const namesOf = ({ identities }: IdentityAssembly) => identities.flatMap(({ names, addresses }) => [...names, ...addresses])
  const present = new Set(namesOf(now))
  return namesOf(before).some((name) => !present.has(name))
}

/** What a worker could not do for a reason of its own. */
function operational(error: unknown): OperationalError {
  if (error instanceof OperationalError) return error
  return new OperationalError('ATLAS_RELOAD', `Cannot apply the configuration: ${reasonOf(error)}`, error)
}
