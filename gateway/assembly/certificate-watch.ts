import type { Logger } from 'pino'
import { endsSoon, firstToEnd, nameOf } from '../../certs/lifetime.ts'
import type { CertificateObserver, CertificateProblem, CertificateState } from '../../certs/provider.ts'
import type { Events } from '../events.ts'
import type { CertificateMeter, CertificateSeries } from '../telemetry/telemetry.ts'

/** How often certificates are looked at: short-lived ones are for hours. */
const LOOK_MS = 15 * 60_000
/** How often the same alarm is raised. */
const ALARM_MS = 86_400_000

export interface CertificateWatchOptions {
  readonly certificates: () => readonly CertificateState[]
  readonly log: Logger
  readonly events: Events
  readonly meter: CertificateMeter
  /** Milliseconds since 1970. */
  readonly clock: () => number
}

/** Tells people how it is with the certificates: what was renewed, what could not be, and what ends although there is no new one. */
export class CertificateWatch implements CertificateObserver {
  readonly #options: CertificateWatchOptions
  readonly #timer: NodeJS.Timeout
  /** What has been counted of the problem of each. */
  readonly #counted = new Map<string, CertificateProblem>()
  /** When the last alarm about each was raised. */
  readonly #alarms = new Map<string, number>()

  constructor(options: CertificateWatchOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.look(), LOOK_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  changed(certificate: CertificateState): void {
    const { source, names } = certificate
    const facts = { source, name: nameOf(certificate), notAfter: timeText(firstToEnd(certificate)?.notAfter) }
    this.#options.meter.renewed(facts.name)
    this.#options.log.info({ ...facts, names }, RENEWED)
    this.#options.events.emit('certificate', `${RENEWED}: ${facts.name}`, facts)
  }

  failed(certificate: CertificateState): void {
    const { source, names, problem, identities } = certificate
    const facts = { source, name: nameOf(certificate), reason: problem?.message ?? null, retriesAt: timeText(problem?.retriesAt) }
    const what = identities.length === 0 ? NOT_GOT : NOT_RENEWED
    this.#options.log.error({ ...facts, names }, what)
    this.#options.events.emit('certificate', `${what}: ${facts.name}: ${facts.reason}`, facts)
    this.#count(certificate)
  }

  /** What should worry somebody, one sentence each. */
  get warnings(): readonly string[] {
    const now = this.#options.clock()
    return this.#options.certificates().flatMap((certificate) => warningOf(certificate, now) ?? [])
  }

  /** For the metrics, by name: of two with the same name, the one that ends first. */
  series(): readonly CertificateSeries[] {
    const now = this.#options.clock()
    const series = new Map<string, CertificateSeries>()
    const sooner = (a: number | null, b: number | null) => (a === null || b === null ? (a ?? b) : Math.min(a, b))
    for (const certificate of this.#options.certificates()) {
      this.#count(certificate)
      const name = nameOf(certificate)
      const other = series.get(name)
      const expirySeconds = secondsUntil(firstToEnd(certificate)?.notAfter ?? null, now)
      const dueSeconds = secondsUntil(certificate.renewsAt, now)
      series.set(name, {
        labels: { name },
        expirySeconds: sooner(expirySeconds, other?.expirySeconds ?? null),
        dueSeconds: sooner(dueSeconds, other?.dueSeconds ?? null),
      })
    }
    return [...series.values()]
  }

  /** Raises the alarms that are due: each once a day. */
  look(): void {
    const now = this.#options.clock()
    const known = new Set<string>()
    for (const certificate of this.#options.certificates()) {
      this.#count(certificate)
      const key = keyOf(certificate)
      if (!isAlarming(certificate, now)) continue
      known.add(key)
      const last = this.#alarms.get(key)
      // a clock that was set back does not silence it
      if (last !== undefined && Math.abs(now - last) < ALARM_MS) continue
      this.#alarms.set(key, now)
      this.#alarm(certificate, now)
    }
    // one that has ended and comes back is told at once
    for (const key of this.#alarms.keys()) if (!known.has(key)) this.#alarms.delete(key)
  }

  #alarm(certificate: CertificateState, now: number): void {
    const { source, problem } = certificate
    const notAfter = timeText(firstToEnd(certificate)?.notAfter)
    const facts = { source, name: nameOf(certificate), notAfter, reason: problem?.message ?? null }
    const message = warningOf(certificate, now) ?? ''
    this.#options.log.warn(facts, message)
    this.#options.events.emit('certificate', message, facts)
  }

  /** Providers tell of another reason, not of every attempt: what has come to their count since. */
  #count(certificate: CertificateState): void {
    const { problem } = certificate
    const key = keyOf(certificate)
    const before = this.#counted.get(key)
    if (problem === null) this.#counted.delete(key)
    else this.#counted.set(key, problem)
    const counted = before !== undefined && before.since === problem?.since ? before.attempts : 0
    this.#options.meter.failed(nameOf(certificate), Math.max(0, (problem?.attempts ?? 0) - counted))
  }
}

const RENEWED = 'there is a new certificate'
const NOT_GOT = 'cannot get a certificate: there is none yet'
const NOT_RENEWED = 'cannot renew a certificate: the present one stays in use'

/** Clients are refused, or will be soon. A first certificate that is merely on its way alarms nobody. */
function isAlarming(certificate: CertificateState, now: number): boolean {
  const first = firstToEnd(certificate)
  return first === null ? certificate.problem !== null : endsSoon(first, now)
}

function warningOf(certificate: CertificateState, now: number): string | null {
  const { source, problem } = certificate
  const name = nameOf(certificate)
  const why = problem === null ? '' : `: ${problem.message}`
  const first = firstToEnd(certificate)
  if (first === null) return `there is no certificate of ${name} (${source}) yet${why}`
  const what = `the certificate of ${name} (${source})`
  if (now > first.notAfter) return `${what} has expired on ${timeText(first.notAfter)}${why}`
  if (endsSoon(first, now)) return `${what} expires on ${timeText(first.notAfter)}, and there is no new one${why}`
  return problem === null ? null : `${what} cannot be renewed${why}`
}

/** Two kinds of key may have the same name. */
function keyOf(certificate: CertificateState): string {
  return `${certificate.source} ${nameOf(certificate)}`
}

function secondsUntil(time: number | null, now: number): number | null {
  return time === null ? null : Math.round((time - now) / 1000)
}

function timeText(time: number | null | undefined): string | null {
  return time == null ? null : new Date(time).toISOString()
}
