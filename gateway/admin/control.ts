/**
 * What the admin door shows and does: the gateway implements it, the door (gateway/admin/) puts it on HTTP, the command line and
 * the tests read it there. Every value is ready to be JSON; times are ISO 8601, durations seconds, sizes octets. Nothing in it
 * is a secret.
 */
export interface Control {
  status(): Status
  /** The configuration in use, in the operator's form. */
  configuration(): ConfigurationView
  /** Never throws: what went wrong is in the outcome. A dry run changes nothing. */
  reload(options: { readonly dryRun: boolean }): Promise<ReloadOutcome>
  /** Takes nothing new, answers what is open, ends the process. Returns at once. */
  drain(): void
  listeners(): readonly ListenerStatus[]
  upstreams(): readonly UpstreamStatus[]
  /** Null: no upstream has the name. Until the next restart; a reload keeps it. */
  enableUpstream(name: string, enabled: boolean): Promise<UpstreamStatus | null>
  cacheStatistics(): CacheStatus
  /** `name`: as people write it. Null: it is no domain name. */
  lookUp(name: string): CachedNameView | null
  /** Null: what it names is no domain name. */
  purge(what: PurgeTarget): Promise<PurgeOutcome | null>
  /** All that there are to be, in the order in which they are served. */
  certificates(): readonly CertificateStatus[]
  /** Has one renewed at once; it is named by any of its names. Returns when it is over, or after some seconds while it goes on. */
  renewCertificate(name: string): Promise<RenewalOutcome>
  /** Gives the account by which the CA knows the gateway another key; the account is named by any name of a certificate that it has ordered. */
  rollOverAccount(name: string): Promise<RollOverOutcome>
  /** Why the gateway is not ready, one sentence each; empty when it is. */
  unreadiness(): readonly string[]
  /** Prometheus text format 0.0.4. */
  metrics(): string
  /** Tells of every event from now on, until the returned function is called. The listener must not throw. */
  follow(listener: (event: ControlEvent) => void): () => void
}

export interface Status {
  readonly version: string
  readonly pid: number
  readonly startedAt: string
  readonly uptimeSeconds: number
  /** Absolute path; null: defaults and environment only. */
  readonly configFile: string | null
  readonly stateDirectory: string
  readonly ready: boolean
  readonly draining: boolean
  /** As `unreadiness()`. */
  readonly reasons: readonly string[]
  /** What is wrong although queries are answered, one sentence each: certificates that end soon, or are not renewed. */
  readonly warnings: readonly string[]
  readonly lastReload: LastReload | null
  readonly workers: readonly WorkerStatus[]
  readonly traffic: Traffic
  readonly cache: CacheStatus
}

export interface LastReload {
  readonly at: string
  readonly outcome: ReloadOutcome['outcome']
  /** Null where it was applied. */
  readonly message: string | null
}

export interface WorkerStatus {
  readonly index: number
  readonly serving: boolean
  readonly restarts: number
  readonly eventLoop: EventLoopStatus
}

/** Of the last half second or so. */
export interface EventLoopStatus {
  /** How much later than asked for a timer came. */
  readonly delaySeconds: number
  /** Share of time in which the thread was busy, 0 to 1. */
  readonly utilization: number
}

/** Counters since the gateway started; they never fall while it runs. */
export interface Traffic {
  /** Queries that are not answered yet. */
  readonly openQueries: number
  readonly transports: readonly TransportTraffic[]
  readonly answers: readonly AnswerTraffic[]
  readonly drops: readonly { readonly reason: string; readonly count: number }[]
}

export type TransportName = 'udp' | 'tcp' | 'dot' | 'doh1' | 'doh2' | 'doh3' | 'doq'

export interface TransportTraffic {
  readonly transport: TransportName
  readonly queries: number
  /** Open at the moment; always 0 on UDP. */
  readonly connections: number
}

export interface AnswerTraffic {
  readonly transport: TransportName
  /** "NOERROR", "NXDOMAIN", … or "other". */
  readonly rcode: string
  readonly source: 'upstream' | 'cache' | 'stale' | 'local'
  readonly count: number
}

export interface ConfigurationView {
  /** Absolute path; null: defaults and environment only. */
  readonly file: string | null
  /** Complete, defaults included, in the operator's form. */
  readonly settings: Readonly<Record<string, unknown>>
}

/** One setting that differs; null: there is none on that side. */
export interface Change {
  /** "timeouts.query", "listen.dot[1]". */
  readonly path: string
  readonly from: unknown
  readonly to: unknown
}

export interface Problem {
  /** "file:line:column", the file alone, or the name of a variable. */
  readonly where: string
  /** "listen.dot[1]"; empty for the configuration as a whole. */
  readonly path: string
  readonly message: string
}

export type ReloadOutcome =
  /** `unchanged`: there was nothing to do; `planned`: a dry run. */
  | {
      readonly outcome: 'applied' | 'unchanged' | 'planned'
      readonly changes: readonly Change[]
      /** Take effect after a restart only; until then the values in use stay. */
      readonly restartOnly: readonly Change[]
      readonly warnings: readonly string[]
    }
  /** The new configuration is wrong: nothing was touched. `rolled-back`: it could not be applied, and what had been was undone. */
  | {
      readonly outcome: 'refused' | 'rolled-back'
      /** As in docs/errors.md. */
      readonly code: string
      readonly message: string
      readonly problems: readonly Problem[]
    }
  /** Another reload is under way, or the gateway is starting or ending. */
  | { readonly outcome: 'busy'; readonly message: string }

export type ListenerKind = 'doh' | 'dot' | 'doq' | 'dns'

export interface ListenerStatus {
  readonly kind: ListenerKind
  /** "127.0.0.1:853", with the true port. */
  readonly address: string
  readonly probes: readonly ProbeStatus[]
}

/** What the self-probe has found last. */
export interface ProbeStatus {
  readonly transport: 'udp' | 'tcp' | 'dot' | 'doh' | 'doh3' | 'doq'
  /** `refused`: alive, but this machine may not ask there or has too many connections; `pending`: not probed yet. */
  readonly outcome: 'ok' | 'refused' | 'failed' | 'pending'
  /** Null while there is nothing to say. */
  readonly reason: string | null
  readonly at: string | null
  /** Of the last answer. */
  readonly seconds: number | null
  /** How often a socket was bound anew because it did not answer. */
  readonly rebinds: number
}

/** `suspect`: it is being found out whether it answers; `down`: it does not; `loop`: it leads back to this gateway. */
export type UpstreamState = 'unknown' | 'up' | 'suspect' | 'down' | 'loop'

export interface UpstreamStatus {
  readonly name: string
  /** "tls://9.9.9.9:853"; several are separated by commas. */
  readonly url: string
  readonly enabled: boolean
  /** That of the best way to it. */
  readonly state: UpstreamState
  /** Best first; none while its host name is not found. */
  readonly ways: readonly UpstreamWayStatus[]
  /** Of clients, as all counters but `probes`. */
  readonly queries: number
  readonly answers: number
  readonly failures: readonly { readonly reason: string; readonly count: number }[]
  /** `outcome`: "answered", or why not, as in docs/errors.md. */
  readonly probes: readonly { readonly outcome: string; readonly count: number }[]
  /** Mean of all answers so far; null before the first. */
  readonly meanSeconds: number | null
}

/** One URL of an upstream, at one address. */
export interface UpstreamWayStatus {
  readonly url: string
  readonly state: UpstreamState
  /** For how long it has been so; null while it is unknown. */
  readonly sinceSeconds: number | null
  /** Smoothed; null before the first answer. */
  readonly rttSeconds: number | null
  /** What nineteen of twenty answers are quicker than, about. */
  readonly p95Seconds: number | null
  /** Share of the last questions that got no answer, 0 to 1. */
  readonly loss: number
  /** Why it is not up, as in docs/errors.md. */
  readonly reason: string | null
}

export interface CacheStatus {
  readonly entries: number
  readonly bytesUsed: number
  readonly bytes: number
  readonly evictions: number
  readonly prefetches: number
  readonly coalesced: number
}

export interface CachedNameView {
  readonly name: string
  readonly answers: readonly CachedAnswerView[]
  readonly failures: readonly CachedFailureView[]
}

export interface CachedQuestionView {
  /** "AAAA"; null: the name is denied, whatever the type. */
  readonly type: string | null
  readonly class: string
  readonly dnssecOk: boolean
  readonly checkingDisabled: boolean
  /** "192.0.2.0/24", "any", or "none" for those who withhold theirs (RFC 7871); null: nobody was told a network. */
  readonly network: string | null
}

export interface CachedAnswerView extends CachedQuestionView {
  readonly rcode: string
  /** At most 0: past its end, kept in case the upstreams fail. */
  readonly secondsLeft: number
  readonly bytes: number
  readonly popularity: number
}

export interface CachedFailureView extends CachedQuestionView {
  /** RFC 8914 INFO-CODE. */
  readonly extendedError: number
  readonly secondsLeft: number
}

export type PurgeTarget =
  | { readonly kind: 'name'; readonly name: string }
  /** A name and everything below it. */
  | { readonly kind: 'suffix'; readonly name: string }
  | { readonly kind: 'all' }

export interface PurgeOutcome {
  readonly entries: number
  /** Pages that could not be looked through, because other threads were writing to them all the time. */
  readonly busyPages: number
}

/** A certificate that the gateway is to have. */
export interface CertificateStatus {
  /** The first of `names`. */
  readonly name: string
  /** "local CA", the file, or "ACME" and the host of the CA. */
  readonly source: string
  /** What it is for: host names, wildcards, addresses. */
  readonly names: readonly string[]
  /** What clients are shown, one for each kind of key; empty: there is none yet. */
  readonly present: readonly PresentCertificate[]
  /** Null: whoever writes the files renews it. */
  readonly renewsAt: string | null
  /** Why there is no new one; null: the last attempt succeeded. */
  readonly problem: CertificateProblem | null
  /** The last renewal that was asked for; null: none was since the gateway started. */
  readonly renewal: CertificateRenewal | null
  /** What clients have to trust besides the usual roots; of the local CA only. */
  readonly authority: LocalAuthority | null
}

export interface PresentCertificate {
  /** "ECDSA P-256", "RSA 2048", "Ed25519". */
  readonly key: string
  readonly names: readonly string[]
  readonly addresses: readonly string[]
  readonly notBefore: string
  readonly notAfter: string
  readonly daysLeft: number
  /** Less than a sixth of its time is left. */
  readonly endsSoon: boolean
  /** SHA-256 of the certificate, hex pairs with colons. */
  readonly fingerprint: string
}

export interface CertificateProblem {
  readonly message: string
  /** Since when it is so, and when it is tried again; null: when something changes. */
  readonly since: string
  readonly retriesAt: string | null
  /** How often it was tried since then. */
  readonly attempts: number
}

export interface CertificateRenewal {
  readonly askedAt: string
  readonly outcome: 'running' | 'renewed' | 'failed'
  /** Null where it did not fail. */
  readonly message: string | null
}

export interface LocalAuthority {
  /** Absolute path of its certificate. */
  readonly file: string
  /** SHA-256 of its certificate, hex pairs with colons. */
  readonly fingerprint: string
}

export type RenewalOutcome =
  /** `running`: it goes on; what becomes of it is shown by `certificates()`. */
  | { readonly outcome: 'renewed' | 'running'; readonly certificate: CertificateStatus }
  /** The certificate that there was stays in use. `busy`: the gateway is starting or ending. */
  | { readonly outcome: 'failed' | 'busy'; readonly message: string }
  /** No certificate has the name. */
  | { readonly outcome: 'unknown' }

export type RollOverOutcome =
  | { readonly outcome: 'done' }
  /** The key that there was stays in use. `busy`: the gateway is starting or ending. */
  | { readonly outcome: 'failed' | 'busy'; readonly message: string }
  /** No certificate has the name. */
  | { readonly outcome: 'unknown' }

export const EVENT_TYPES = ['reload', 'drain', 'worker', 'probe', 'upstream', 'upstreams', 'certificate', 'cache'] as const

export interface ControlEvent {
  /** Grows by one with each event of this process. */
  readonly id: number
  readonly at: string
  readonly type: (typeof EVENT_TYPES)[number]
  /** For people. */
  readonly message: string
  readonly facts: Readonly<Record<string, string | number | boolean | null>>
}
