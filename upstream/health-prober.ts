import { randomInt } from 'node:crypto'
import type { Answer } from '../dns/answer.ts'
import { type Client, NO_KEEPALIVE, type ReplySink, TRANSPORTS, type UpstreamSink } from '../dns/contracts.ts'
import type { Failure } from '../dns/failure.ts'
import { Flag } from '../dns/header.ts'
import { loopQuestion, questionOf } from '../dns/own-question.ts'
import { Query } from '../dns/query.ts'
import { Class, Type } from '../dns/types.ts'
import type { Clock } from '../net/clock.ts'
import { type Wheel, WheelEntry } from '../net/wheel.ts'
import type { Health, Prober } from './health.ts'
import { type HealthRow, HealthState } from './health-table.ts'

/** How often it is looked who is due. */
const LOOK_MS = 50
/** How long a probe is waited for: many times what an answer takes, but a handshake over a slow path fits. */
const PROBE_MIN_MS = 400
const PROBE_MAX_MS = 2000
const PROBE_RTTS = 8
/** Probes without an answer after which a server is down; one may be lost. */
const MISSES_UNTIL_DOWN = 2
/** After that the next probe waits, doubled each time, so that a server that is away for long costs nothing, and one that is back is not kept waiting for long. */
const FIRST_PAUSE_MS = 500
const LAST_PAUSE_MS = 30_000
/** Share by which pauses differ, so that many gateways do not ask at the same moment. */
const JITTER = 0.25
/** A server that is suspected again and again is probed no more often than this. */
const SUSPECT_PAUSE_MS = 300
/** How often it is found out whether a server leads back to us, at most, before that is known: it costs servers a name that nobody knows. */
const LOOP_PAUSE_MS = 10_000

export interface HealthProberOptions {
  readonly clock: Clock
  readonly wheel: Wheel
  /** The last label of names that only this gateway asks for. */
  readonly loopLabel: string
}

/**
 * Asks servers that are suspected, down or not known yet, in place of clients. All threads look after whom they know, and for each
 * probe that is due one of them gets the turn. With the first probe of a server and with a suspicion goes a question that would come back if
 * the server led to us (CoreDNS knows it as "loop").
 */
export class HealthProber extends WheelEntry implements Prober {
  readonly #clock: Clock
  readonly #wheel: Wheel
  readonly #loopLabel: string
  readonly #patients = new Set<Health>()

  constructor({ clock, wheel, loopLabel }: HealthProberOptions) {
    super()
    this.#clock = clock
    this.#wheel = wheel
    this.#loopLabel = loopLabel
  }

  admit(health: Health): void {
    if (this.#patients.has(health)) return
    this.#patients.add(health)
    // at once, but not within the call: whoever asks is in the middle of choosing
    if (this.#patients.size === 1) this.#wheel.set(this, this.#clock())
  }

  /** It is not asked any more. */
  dismiss(health: Health): void {
    this.#patients.delete(health)
  }

  override onDeadline(now: number): void {
    for (const health of this.#patients) this.#look(health, now)
    if (this.#patients.size > 0) this.#wheel.set(this, now + LOOK_MS)
  }

  #look(health: Health, now: number): void {
    const { row } = health
    if (row.state === HealthState.UP) {
      this.#patients.delete(health)
      // what ended the suspicion may have come from us, and from another server to us
      this.#lookForLoop(health, now)
      return
    }
    const patienceMs = patienceOf(row)
    if (!row.claimProbe(now, now + patienceMs + pauseAfter(row.misses + 1))) return
    // the last question that looks for a loop has neither come back nor been answered: whatever led to us does so no more
    if (row.state === HealthState.LOOP && row.nonce !== 0) row.change(HealthState.LOOP, HealthState.SUSPECT, now)
    // this one first: once it has come back, the other one is not forwarded any more
    this.#lookForLoop(health, now)
    this.#ask(health, { wire: ROOT_QUESTION, flags: 0, now, patienceMs }, new Probe(health, this.#clock))
  }

  #lookForLoop(health: Health, now: number): void {
    const { row } = health
    // who is known to be a loop is asked with each probe, and those become ever fewer
    const isDue = row.state === HealthState.LOOP || (row.state !== HealthState.DOWN && row.claimLoopQuestion(now, now + LOOP_PAUSE_MS))
    if (!isDue) return
    const nonce = randomInt(1, 2 ** 31)
    row.nonce = nonce
    const wire = loopQuestion(nonce, this.#loopLabel)
    this.#ask(health, { wire, flags: Flag.RD, now, patienceMs: patienceOf(row) }, new LoopProbe(row, nonce, this.#clock))
  }

  #ask(health: Health, { wire, flags, now, patienceMs }: OwnQuestion, sink: UpstreamSink): void {
    const query = new Query(OURSELVES, UNANSWERED, 0, wire)
    query.parked = true
    query.isProbe = true
    query.flags = flags
    query.qtype = wire[wire.length - 3] as number
    query.qclass = Class.IN
    query.questionEnd = wire.length
    query.edns = true
    query.receivedAt = now
    query.deadline = now + patienceMs
    health.server.send(query, sink)
  }
}

interface OwnQuestion {
  readonly wire: Uint8Array
  /** Those of the header. */
  readonly flags: number
  readonly now: number
  readonly patienceMs: number
}

/** What becomes of one probe. */
class Probe implements UpstreamSink {
  readonly #health: Health
  readonly #clock: Clock

  constructor(health: Health, clock: Clock) {
    this.#health = health
    this.#clock = clock
  }

  answered(query: Query, _answer: Answer): void {
    const now = this.#clock()
    const { row } = this.#health
    // who leads back to us is looked at ever less often
    const pause = row.state === HealthState.LOOP ? pauseAfter(MISSES_UNTIL_DOWN + row.miss()) : SUSPECT_PAUSE_MS
    row.probeAgain(now + pause)
    this.#health.answered(query.receivedAt, now)
  }

  failed(_query: Query, failure: Failure): void {
    const now = this.#clock()
    const { row } = this.#health
    row.blame(failure)
    const misses = row.miss()
    row.probeAgain(now + pauseAfter(misses))
    if (row.state === HealthState.UNKNOWN) row.change(HealthState.UNKNOWN, HealthState.SUSPECT, now)
    if (misses >= MISSES_UNTIL_DOWN) row.change(HealthState.SUSPECT, HealthState.DOWN, now)
  }
}

/** What becomes of a question that looks for a loop. If it has come back to us, the row has forgotten its nonce. */
class LoopProbe implements UpstreamSink {
  readonly #row: HealthRow
  readonly #nonce: number
  readonly #clock: Clock

  constructor(row: HealthRow, nonce: number, clock: Clock) {
    this.#row = row
    this.#nonce = nonce
    this.#clock = clock
  }

  answered(): void {
    const row = this.#row
    if (row.nonce !== this.#nonce) return
    // somebody else has answered it: nobody can name it any more
    row.nonce = 0
    const now = this.#clock()
    if (row.change(HealthState.LOOP, HealthState.SUSPECT, now)) row.probeAgain(now)
  }

  failed(): void {
    // lost, or our listeners are not bound yet: it goes along with the next probe
    if (this.#row.nonce === this.#nonce) this.#row.loopQuestionAgain(this.#clock())
  }
}

function patienceOf({ rttMs }: HealthRow): number {
  return Number.isNaN(rttMs) ? PROBE_MAX_MS : Math.min(Math.max(PROBE_RTTS * rttMs, PROBE_MIN_MS), PROBE_MAX_MS)
}

/** The second probe follows the first at once. */
function pauseAfter(misses: number): number {
  if (misses < MISSES_UNTIL_DOWN) return 0
  const pause = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(misses - MISSES_UNTIL_DOWN, 16), LAST_PAUSE_MS)
  return pause * (1 + JITTER * (2 * Math.random() - 1))
}

/**
 * Without RD: whether the server is there, not whether it reaches others, for it may know what it is asked, or be asked for a zone of its own. It answers at once, if
 * only that it refuses to; what it cannot resolve for clients is seen by that. No client's secret is in it.
 */
const ROOT_QUESTION = questionOf([], Type.NS)

const UNANSWERED: ReplySink = { deliver() {}, refuse() {} }
const OURSELVES: Client = {
  traits: TRANSPORTS.udp,
  address: '127.0.0.1',
  octets: new Uint8Array(16),
  port: 0,
  holder: null,
  refusal: null,
  keepalive: NO_KEEPALIVE,
}
