import { TRANSPORTS } from '../../dns/contracts.ts'
import type { AnswerTraffic, CacheStatus, EventLoopStatus, Traffic, UpstreamStatus } from '../admin/control.ts'
import type { Labels, Reading } from '../telemetry/metrics.ts'
import type { Slab } from '../telemetry/slab.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'

/** What the metrics say, as numbers for the admin door. */
export class Counters {
  readonly #telemetry: Telemetry
  readonly #slabs: readonly Slab[]

  constructor(telemetry: Telemetry, slabs: readonly Slab[]) {
    this.#telemetry = telemetry
    this.#slabs = slabs
  }

  traffic(): Traffic {
    const queries = this.#read('atlas_queries_total')
    const connections = this.#read('atlas_connections')
    return {
      openQueries: sum(this.#read('atlas_queries_open')),
      transports: Object.values(TRANSPORTS).map(({ label }) => ({
        transport: label,
        queries: sum(queries, { transport: label }),
        connections: sum(connections, { transport: label }),
      })),
      answers: this.#read('atlas_answers_total').flatMap(({ labels, values: [count = 0] }) =>
        count === 0 ? [] : [answerTraffic(labels, count)],
      ),
      drops: this.#byReason('atlas_drops_total'),
    }
  }

  eventLoop(worker: number): EventLoopStatus {
    const labels = { worker: String(worker) }
    return {
      delaySeconds: sum(this.#read('atlas_event_loop_delay_seconds'), labels),
      utilization: sum(this.#read('atlas_event_loop_utilization'), labels),
    }
  }

  upstream(name: string): Pick<UpstreamStatus, 'queries' | 'answers' | 'failures' | 'probes' | 'meanSeconds'> {
    const labels = { upstream: name }
    const seconds = this.#read('atlas_upstream_seconds').find((reading) => has(reading, labels))?.values ?? []
    const count = seconds.slice(0, -1).reduce((total, bucket) => total + bucket, 0)
    return {
      queries: sum(this.#read('atlas_upstream_queries_total'), labels),
      answers: sum(this.#read('atlas_upstream_answers_total'), labels),
      failures: this.#byReason('atlas_upstream_failures_total', labels),
      probes: this.#countsOf('atlas_upstream_probes_total', labels).map(({ labels: { outcome = '' }, count }) => ({ outcome, count })),
      meanSeconds: count === 0 ? null : (seconds.at(-1) ?? 0) / count,
    }
  }

  cache(): Pick<CacheStatus, 'evictions' | 'prefetches' | 'coalesced'> {
    return {
      evictions: sum(this.#read('atlas_cache_evictions_total')),
      prefetches: sum(this.#read('atlas_cache_prefetches_total')),
      coalesced: sum(this.#read('atlas_cache_coalesced_total')),
    }
  }

  #byReason(name: string, labels: Labels = {}): readonly { readonly reason: string; readonly count: number }[] {
    return this.#countsOf(name, labels).map(({ labels: { reason = '' }, count }) => ({ reason, count }))
  }

  /** Of the series that have these labels, those that have counted anything. */
  #countsOf(name: string, labels: Labels): readonly { readonly labels: Labels; readonly count: number }[] {
    return this.#read(name).flatMap((reading) => {
      const [count = 0] = reading.values
      return count > 0 && has(reading, labels) ? [{ labels: reading.labels, count }] : []
    })
  }

  #read(name: string): readonly Reading[] {
    return this.#telemetry.read(name, this.#slabs)
  }
}

function answerTraffic({ transport, rcode = '', source }: Labels, count: number): AnswerTraffic {
  return { transport: transport as AnswerTraffic['transport'], rcode, source: source as AnswerTraffic['source'], count }
}

/** Of the series that have these labels. */
function sum(readings: readonly Reading[], labels: Labels = {}): number {
  return readings.reduce((total, reading) => (has(reading, labels) ? total + (reading.values[0] ?? 0) : total), 0)
}

function has(reading: Reading, labels: Labels): boolean {
  return Object.entries(labels).every(([name, value]) => reading.labels[name] === value)
}
