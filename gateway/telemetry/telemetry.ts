import { type Answer, SOURCES } from '../../dns/answer.ts'
import { TRANSPORTS, type TransportMeter, type TransportTraits, type UpstreamMeter } from '../../dns/contracts.ts'
import { FAILURES, type Failure } from '../../dns/failure.ts'
import type { Query } from '../../dns/query.ts'
import { Rcode } from '../../dns/types.ts'
import type { PipelineObserver } from '../pipeline.ts'
import { Metrics } from './metrics.ts'

/** Upper bounds, seconds: from an answer of our own to the end of a query's budget. */
const SECONDS_BOUNDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]
const MS_PER_SECOND = 1000
/** RCODEs with a series of their own; the rest is "other". */
const RCODES = Object.entries(Rcode)
const RCODE_POSITIONS = new Map<number, number>(RCODES.map(([, value], position) => [value, position]))
const TRANSPORT_LIST = Object.values(TRANSPORTS)

/** What the gateway counts, and under which names (design §8). */
export class Telemetry implements PipelineObserver {
  readonly #metrics = new Metrics()
  readonly #queries = this.#perTransport(this.#metrics.counter('atlas_queries_total', 'Queries received.'))
  readonly #answerFamily = this.#metrics.counter('atlas_answers_total', 'Answers sent, by RCODE and by where they came from.')
  readonly #secondsFamily = this.#metrics.histogram('atlas_query_seconds', 'Time from a query to its answer.', SECONDS_BOUNDS)
  /** Slots by transport, then source, then RCODE. */
  readonly #answers = this.#answerSlots()
  readonly #seconds = this.#secondsSlots()
  readonly #drops = this.#dropSlots()
  readonly #handshakes = this.#metrics.counter('atlas_handshakes_total', 'TLS handshakes.')
  readonly #connections = this.#metrics.gauge('atlas_connections', 'Open client connections.')
  readonly #open = this.#metrics.gauge('atlas_queries_open', 'Queries that have not been answered yet.').slot()
  readonly #expiry = this.#metrics.gauge('atlas_certificate_expiry_seconds', 'Time until the certificate expires.')
  readonly #upstream = {
    queries: this.#metrics.counter('atlas_upstream_queries_total', 'Questions sent to the upstream, repetitions included.'),
    answers: this.#metrics.counter('atlas_upstream_answers_total', 'Answers of the upstream that were used.'),
    failures: this.#metrics.counter('atlas_upstream_failures_total', 'Questions that the upstream did not answer, by reason.'),
    ignored: this.#metrics.counter('atlas_upstream_ignored_total', 'Messages of the upstream that answer nothing it was asked.'),
    seconds: this.#metrics.histogram('atlas_upstream_seconds', 'Time from a question to the answer of the upstream.', SECONDS_BOUNDS),
  }

  onQuery(query: Query): void {
    this.#metrics.add(this.#queries[query.client.traits.index] as number)
  }

  onAnswer(query: Query, answer: Answer, now: number): void {
    const { index } = query.client.traits
    const source = SOURCES.indexOf(answer.source)
    const rcode = RCODE_POSITIONS.get(answer.rcode) ?? RCODES.length
    if (query.failure !== null) this.#metrics.add(this.#drops[query.failure.index] as number)
    this.#metrics.add(this.#answers[index]?.[source]?.[rcode] as number)
    this.#secondsFamily.observe(this.#seconds[index]?.[source] as number, (now - query.receivedAt) / MS_PER_SECOND)
  }

  onRefusal(_query: Query, failure: Failure): void {
    this.#metrics.add(this.#drops[failure.index] as number)
  }

  transportMeter({ label }: TransportTraits): TransportMeter {
    const metrics = this.#metrics
    const open = this.#connections.slot({ transport: label })
    return {
      connectionOpened: () => metrics.add(open),
      connectionClosed: () => metrics.add(open, -1),
      handshake: (outcome, version, resumed) =>
        metrics.add(this.#handshakes.slot({ transport: label, outcome, version, resumed: String(resumed) })),
      dropped: (failure) => metrics.add(this.#drops[failure.index] as number),
    }
  }

  /** `upstream`: the name the operator gave it. */
  upstreamMeter(upstream: string): UpstreamMeter {
    const metrics = this.#metrics
    const queries = this.#upstream.queries.slot({ upstream })
    const answers = this.#upstream.answers.slot({ upstream })
    const ignored = this.#upstream.ignored.slot({ upstream })
    const seconds = this.#upstream.seconds.slot({ upstream })
    return {
      sent: () => metrics.add(queries),
      answered: (rttMs) => {
        metrics.add(answers)
        this.#upstream.seconds.observe(seconds, rttMs / MS_PER_SECOND)
      },
      failed: (failure) => metrics.add(this.#upstream.failures.slot({ upstream, reason: failure.code })),
      ignored: () => metrics.add(ignored),
    }
  }

  /** The text for GET /metrics; what is not counted as it happens is passed in. */
  render(gauges: { open: number; certificates: readonly { name: string; notAfter: number }[]; wallClock: number }): string {
    this.#metrics.set(this.#open, gauges.open)
    for (const { name, notAfter } of gauges.certificates) {
      this.#metrics.set(this.#expiry.slot({ name }), Math.round((notAfter - gauges.wallClock) / MS_PER_SECOND))
    }
    return this.#metrics.render()
  }

  #perTransport(family: { slot(labels: Record<string, string>): number }): readonly number[] {
    return TRANSPORT_LIST.map(({ label }) => family.slot({ transport: label }))
  }

  #answerSlots(): readonly (readonly (readonly number[])[])[] {
    return TRANSPORT_LIST.map(({ label }) =>
      SOURCES.map((source) =>
        [...RCODES.map(([name]) => name), 'other'].map((rcode) => this.#answerFamily.slot({ transport: label, rcode, source })),
      ),
    )
  }

  #secondsSlots(): readonly (readonly number[])[] {
    return TRANSPORT_LIST.map(({ label }) => SOURCES.map((source) => this.#secondsFamily.slot({ transport: label, source })))
  }

  #dropSlots(): readonly number[] {
    const family = this.#metrics.counter('atlas_drops_total', 'Queries and connections that failed, by failure code.')
    return FAILURES.map(({ code }) => family.slot({ reason: code }))
  }
}
