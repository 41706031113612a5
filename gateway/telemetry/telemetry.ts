import { type Answer, SOURCES } from '../../dns/answer.ts'
import { TRANSPORTS, type TransportMeter, type TransportTraits, type UpstreamMeter } from '../../dns/contracts.ts'
import { FAILURES, Failure } from '../../dns/failure.ts'
import type { Query } from '../../dns/query.ts'
import { Rcode } from '../../dns/types.ts'
import type { CacheStatistics } from '../cache/inspect.ts'
import type { CacheMeter } from '../cache/meter.ts'
import type { PipelineObserver } from '../pipeline.ts'
import { type Labels, Metrics, type Reading, renderGauge } from './metrics.ts'
import type { Slab } from './slab.ts'

/** Upper bounds, seconds: from an answer of our own to the end of a query's budget. */
const SECONDS_BOUNDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]
const MS_PER_SECOND = 1000
/** RCODEs with a series of their own; the rest is "other". */
const RCODES = Object.entries(Rcode)
const RCODE_POSITIONS = new Map<number, number>(RCODES.map(([, value], position) => [value, position]))
const TRANSPORT_LIST = Object.values(TRANSPORTS)

/** What is not counted as it happens. */
export interface Gauges {
  readonly certificates: readonly CertificateSeries[]
  readonly cache: Pick<CacheStatistics, 'entries' | 'bytesUsed'>
  readonly probes: readonly ProbeSeries[]
  readonly upstreams: readonly UpstreamHealthSeries[]
  /** How often a socket was bound anew. */
  readonly rebinds: number
}

/** How it is with one certificate. */
export interface CertificateSeries {
  readonly labels: Labels
  /** Null: there is none yet. */
  readonly expirySeconds: number | null
  /** Null: somebody else renews it. */
  readonly dueSeconds: number | null
}

/** What the self-probe has found on one listener. */
export interface ProbeSeries {
  readonly labels: Labels
  /** Null while it was not probed yet. */
  readonly up: boolean | null
  /** Null before the first answer. */
  readonly seconds: number | null
}

/** What is known of one way to an upstream. */
export interface UpstreamHealthSeries {
  readonly labels: Labels
  /** Null while nothing has been asked. */
  readonly up: boolean | null
  /** Null before the first answer. */
  readonly rttSeconds: number | null
  readonly loss: number
}

/** By Stored. */
const STORE_OUTCOMES = ['kept', 'too_large', 'busy', 'off'] as const

/** Counts what becomes of the workers. */
export interface WorkerMeter {
  running(workers: number): void
  restarted(reason: RestartReason): void
}

/** Counts what becomes of certificates, by their names. */
export interface CertificateMeter {
  renewed(name: string): void
  /** `attempts`: how many were in vain; 0 makes the series. */
  failed(name: string, attempts: number): void
}

/** Shows how busy the loop of a thread is. */
export interface EventLoopMeter {
  beat(delayMs: number, utilization: number): void
}

export type RestartReason = 'crashed' | 'unresponsive'

/** What the gateway counts, and under which names (design §8). Each thread has one, on a slab of its own. */
export class Telemetry implements PipelineObserver {
  readonly #metrics: Metrics
  readonly #families: Families
  readonly #slots: Slots

  constructor(slab: Slab) {
    this.#metrics = new Metrics(slab)
    this.#families = familiesOf(this.#metrics)
    this.#slots = slotsOf(this.#families)
  }

  onQuery(query: Query): void {
    this.#metrics.add(this.#slots.queries[query.client.traits.index] as number)
    this.#metrics.add(this.#slots.open)
  }

  onAnswer(query: Query, answer: Answer, now: number): void {
    const { index } = query.client.traits
    const source = SOURCES.indexOf(answer.source)
    const rcode = RCODE_POSITIONS.get(answer.rcode) ?? RCODES.length
    this.#metrics.add(this.#slots.open, -1)
    if (query.failure !== null) this.#metrics.add(this.#slots.drops[query.failure.index] as number)
    this.#metrics.add(this.#slots.answers[index]?.[source]?.[rcode] as number)
    this.#families.seconds.observe(this.#slots.seconds[index]?.[source] as number, (now - query.receivedAt) / MS_PER_SECOND)
  }

  onRefusal(_query: Query, failure: Failure): void {
    this.#metrics.add(this.#slots.open, -1)
    this.#metrics.add(this.#slots.drops[failure.index] as number)
  }

  transportMeter({ label }: TransportTraits): TransportMeter {
    const metrics = this.#metrics
    const { handshakes, connections } = this.#families
    const { drops } = this.#slots
    const open = connections.slot({ transport: label })
    // labels take longer to write than to look up
    const ends = new Map<string, number>()
    const endSlot = (outcome: string, version: string, resumed: boolean): number => {
      const key = `${outcome} ${version} ${resumed}`
      const slot = ends.get(key) ?? handshakes.slot({ transport: label, outcome, version, resumed: String(resumed) })
      ends.set(key, slot)
      return slot
    }
    return {
      connectionOpened: () => metrics.add(open),
      connectionClosed: () => metrics.add(open, -1),
      handshake: (outcome, version, resumed) => metrics.add(endSlot(outcome, version, resumed)),
      dropped: (failure) => metrics.add(drops[failure.index] as number),
    }
  }

  /** `upstream`: the name the operator gave it. */
  upstreamMeter(upstream: string): UpstreamMeter {
    const metrics = this.#metrics
    const families = this.#families.upstream
    const queries = families.queries.slot({ upstream })
    const answers = families.answers.slot({ upstream })
    const ignored = families.ignored.slot({ upstream })
    const seconds = families.seconds.slot({ upstream })
    const connections = families.connections.slot({ upstream })
    const failureSlot = ({ code }: Failure): number => families.failures.slot({ upstream, reason: code })
    return {
      sent: ({ isProbe }) => {
        if (!isProbe) metrics.add(queries)
      },
      answered: ({ isProbe }, { rcode }, rttMs) => {
        if (isProbe) {
          metrics.add(families.probes.slot({ upstream, outcome: 'answered' }))
          return
        }
        metrics.add(answers)
        families.seconds.observe(seconds, rttMs / MS_PER_SECOND)
        if (rcode === Rcode.SERVFAIL) metrics.add(failureSlot(Failure.upstream_failed))
      },
      failed: ({ isProbe }, failure) => {
        metrics.add(isProbe ? families.probes.slot({ upstream, outcome: failure.code }) : failureSlot(failure))
      },
      ignored: () => metrics.add(ignored),
      connectionOpened: () => metrics.add(connections),
      connectionClosed: () => metrics.add(connections, -1),
    }
  }

  cacheMeter(): CacheMeter {
    const metrics = this.#metrics
    const { stores, evictions, coalesced, withheld, prefetches } = this.#families.cache
    const outcomes = STORE_OUTCOMES.map((outcome) => stores.slot({ outcome }))
    const [evicted, joined, prefetched] = [evictions.slot(), coalesced.slot(), prefetches.slot()]
    const alone = withheld.slot()
    return {
      stored: (outcome) => metrics.add(outcomes[outcome] as number),
      evicted: (entries) => metrics.add(evicted, entries),
      coalesced: () => metrics.add(joined),
      withheld: () => metrics.add(alone),
      prefetched: () => metrics.add(prefetched),
    }
  }

  eventLoopMeter(worker: number): EventLoopMeter {
    const labels = { worker: String(worker) }
    const delay = this.#families.eventLoop.delay.slot(labels)
    const share = this.#families.eventLoop.utilization.slot(labels)
    return {
      beat: (delayMs, utilization) => {
        this.#metrics.set(delay, delayMs / MS_PER_SECOND)
        this.#metrics.set(share, utilization)
      },
    }
  }

  workerMeter(): WorkerMeter {
    const metrics = this.#metrics
    const running = this.#families.workers.slot()
    const restarts = {
      crashed: this.#families.restarts.slot({ reason: 'crashed' }),
      unresponsive: this.#families.restarts.slot({ reason: 'unresponsive' }),
    } satisfies Record<RestartReason, number>
    return {
      running: (workers) => metrics.set(running, workers),
      restarted: (reason) => metrics.add(restarts[reason]),
    }
  }

  certificateMeter(): CertificateMeter {
    const metrics = this.#metrics
    const { renewals, failures } = this.#families.certificates
    return {
      renewed: (name) => metrics.add(renewals.slot({ name })),
      failed: (name, attempts) => {
        metrics.add(renewals.slot({ name }), 0)
        metrics.add(failures.slot({ name }), attempts)
      },
    }
  }

  /** All series of one name, of this thread and those of `others` together. */
  read(name: string, others: readonly Slab[]): readonly Reading[] {
    return this.#metrics.read(name, others)
  }

  /** What the thread of this slab had open is gone with it. */
  forgetOpen(slab: Slab): void {
    this.#metrics.clearGauges(slab)
  }

  /** The text for GET /metrics, of this thread and those of `others`; what is not counted as it happens is passed in. */
  render(others: readonly Slab[], gauges: Gauges): string {
    this.#metrics.set(this.#families.cache.entries.slot(), gauges.cache.entries)
    this.#metrics.set(this.#families.cache.bytes.slot(), gauges.cache.bytesUsed)
    this.#metrics.set(this.#families.rebinds.slot(), gauges.rebinds)
    return (
      this.#metrics.render(others) +
      renderCertificates(gauges.certificates) +
      renderProbes(gauges.probes) +
      renderUpstreams(gauges.upstreams)
    )
  }
}

type Families = ReturnType<typeof familiesOf>

function familiesOf(metrics: Metrics) {
  return {
    queries: metrics.counter('atlas_queries_total', 'Queries received.'),
    answers: metrics.counter('atlas_answers_total', 'Answers sent, by RCODE and by where they came from.'),
    seconds: metrics.histogram('atlas_query_seconds', 'Time from a query to its answer.', SECONDS_BOUNDS),
    drops: metrics.counter('atlas_drops_total', 'Queries and connections that failed, by failure code.'),
    handshakes: metrics.counter('atlas_handshakes_total', 'TLS handshakes.'),
    connections: metrics.gauge('atlas_connections', 'Open client connections.'),
    open: metrics.gauge('atlas_queries_open', 'Queries that have not been answered yet.'),
    certificates: {
      renewals: metrics.counter('atlas_certificate_renewals_total', 'New certificates that came, and are served.'),
      failures: metrics.counter('atlas_certificate_renewal_failures_total', 'Attempts to get a new certificate that failed.'),
    },
    upstream: {
      queries: metrics.counter('atlas_upstream_queries_total', 'Questions of clients sent to the upstream, repetitions included.'),
      answers: metrics.counter('atlas_upstream_answers_total', 'Answers of the upstream that were used.'),
      failures: metrics.counter('atlas_upstream_failures_total', 'Questions that the upstream did not answer, by reason.'),
      probes: metrics.counter('atlas_upstream_probes_total', 'Questions asked to learn how the upstream is, by what came of them.'),
      ignored: metrics.counter('atlas_upstream_ignored_total', 'Messages of the upstream that answer nothing it was asked.'),
      connections: metrics.gauge('atlas_upstream_connections', 'Open connections to the upstream.'),
      seconds: metrics.histogram('atlas_upstream_seconds', 'Time from a question to the answer of the upstream.', SECONDS_BOUNDS),
    },
    cache: {
      stores: metrics.counter('atlas_cache_stores_total', 'Answers to be kept in the cache, by what became of that.'),
      evictions: metrics.counter('atlas_cache_evictions_total', 'Entries of the cache that went to make room for others.'),
      coalesced: metrics.counter('atlas_cache_coalesced_total', 'Queries that waited for the answer to the same question of another.'),
      withheld: metrics.counter(
        'atlas_client_subnet_withheld_total',
        'Queries asked without their network, which too many others were asking from.',
      ),
      prefetches: metrics.counter('atlas_cache_prefetches_total', 'Answers that were asked for again ahead of their end.'),
      entries: metrics.gauge('atlas_cache_entries', 'Entries of the cache, those past their end too.'),
      bytes: metrics.gauge('atlas_cache_bytes', 'Octets of the cache in use.'),
    },
    rebinds: metrics.counter('atlas_rebinds_total', 'Sockets that were bound anew because they did not answer.'),
    workers: metrics.gauge('atlas_workers', 'Worker threads that serve.'),
    eventLoop: {
      delay: metrics.gauge('atlas_event_loop_delay_seconds', 'How much later than asked for the last timer of a worker came.'),
      utilization: metrics.gauge('atlas_event_loop_utilization', 'Share of the last half second in which a worker was busy.'),
    },
    restarts: metrics.counter('atlas_worker_restarts_total', 'Worker threads that were replaced, by reason.'),
  }
}

/** Certificates and listeners come and go: these are no slots, so that nothing stays of those that are gone. */
function renderCertificates(certificates: readonly CertificateSeries[]): string {
  const expiry = certificates.flatMap(({ labels, expirySeconds: value }) => (value === null ? [] : [{ labels, value }]))
  const due = certificates.flatMap(({ labels, dueSeconds: value }) => (value === null ? [] : [{ labels, value }]))
  return (
    renderGauge({ name: 'atlas_certificate_expiry_seconds', help: 'Time until the certificate expires.' }, expiry) +
    renderGauge({ name: 'atlas_certificate_renewal_due_seconds', help: 'Time until the certificate is renewed.' }, due)
  )
}

function renderProbes(probes: readonly ProbeSeries[]): string {
  const up = probes.flatMap(({ labels, up }) => (up === null ? [] : [{ labels, value: Number(up) }]))
  const seconds = probes.flatMap(({ labels, seconds }) => (seconds === null ? [] : [{ labels, value: seconds }]))
  return (
    renderGauge({ name: 'atlas_probe_up', help: 'Whether the listener answers its own gateway.' }, up) +
    renderGauge({ name: 'atlas_probe_seconds', help: 'How long the last answer to the self-probe took.' }, seconds)
  )
}

function renderUpstreams(upstreams: readonly UpstreamHealthSeries[]): string {
  const up = upstreams.flatMap(({ labels, up }) => (up === null ? [] : [{ labels, value: Number(up) }]))
  const rtt = upstreams.flatMap(({ labels, rttSeconds }) => (rttSeconds === null ? [] : [{ labels, value: rttSeconds }]))
  const loss = upstreams.map(({ labels, loss }) => ({ labels, value: loss }))
  return (
    renderGauge({ name: 'atlas_upstream_up', help: 'Whether the upstream answers.' }, up) +
    renderGauge({ name: 'atlas_upstream_rtt_seconds', help: 'Smoothed time until the upstream answers.' }, rtt) +
    renderGauge({ name: 'atlas_upstream_loss_ratio', help: 'Share of the last questions that the upstream did not answer.' }, loss)
  )
}

/** The slots of what is counted for every query: looked up once. */
type Slots = ReturnType<typeof slotsOf>

function slotsOf({ queries, answers, seconds, drops, open }: Families) {
  const rcodes = [...RCODES.map(([name]) => name), 'other']
  return {
    open: open.slot(),
    queries: TRANSPORT_LIST.map(({ label }) => queries.slot({ transport: label })),
    drops: FAILURES.map(({ code }) => drops.slot({ reason: code })),
    /** By transport, then source, then RCODE. */
    answers: TRANSPORT_LIST.map(({ label }) =>
      SOURCES.map((source) => rcodes.map((rcode) => answers.slot({ transport: label, rcode, source }))),
    ),
    /** By transport, then source. */
    seconds: TRANSPORT_LIST.map(({ label }) => SOURCES.map((source) => seconds.slot({ transport: label, source }))),
  }
}
