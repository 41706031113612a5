import type { Logger } from 'pino'
import { Failure } from '../../dns/failure.ts'
import { monotonicClock } from '../../net/clock.ts'
import { type HealthRow, HealthState } from '../../upstream/health-table.ts'
import type { UpstreamState, UpstreamWayStatus } from '../admin/control.ts'
import type { Events } from '../events.ts'
import type { UpstreamHealthSeries } from '../telemetry/telemetry.ts'
import type { HealthRows } from './health-rows.ts'
import { type PlannedUpstream, type Way, wayText } from './upstreams.ts'

/** How often it is looked: what changes and changes back in between concerns nobody. */
const LOOK_MS = 500

const NAMES: Readonly<Record<HealthState, UpstreamState>> = {
  [HealthState.UNKNOWN]: 'unknown',
  [HealthState.UP]: 'up',
  [HealthState.SUSPECT]: 'suspect',
  [HealthState.DOWN]: 'down',
  [HealthState.LOOP]: 'loop',
}
/** From the best to the worst. */
const ORDER: readonly UpstreamState[] = ['up', 'unknown', 'suspect', 'down', 'loop']

export interface HealthWatchOptions {
  readonly rows: HealthRows
  readonly log: Logger
  readonly events: Events
  readonly upstreams: () => readonly PlannedUpstream[]
}

/** Reads for people what the workers have found out about upstreams: one line in the log and one event for each that goes down or comes back. */
export class HealthWatch {
  readonly #options: HealthWatchOptions
  /** Rows that are known to be down. */
  readonly #down = new Set<number>()
  readonly #timer: NodeJS.Timeout

  constructor(options: HealthWatchOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.look(), LOOK_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  look(): void {
    const { rows, upstreams } = this.#options
    const known = new Set<number>()
    for (const { server, ways } of upstreams()) {
      for (const way of ways) {
        known.add(way.row)
        this.#compare(server.name, way, rows.row(way.row))
      }
    }
    for (const row of this.#down) if (!known.has(row)) this.#down.delete(row)
  }

  waysOf(name: string): readonly UpstreamWayStatus[] {
    const upstream = this.#options.upstreams().find(({ server }) => server.name === name)
    return upstream?.ways.map((way) => wayStatus(way, this.#options.rows.row(way.row))) ?? []
  }

  series(): readonly UpstreamHealthSeries[] {
    return this.#options.upstreams().flatMap(({ server, ways }) =>
      ways.map((way) => {
        const { state, rttMs, loss } = this.#options.rows.row(way.row)
        return {
          labels: { upstream: server.name, url: wayText(way) },
          up: state === HealthState.UNKNOWN ? null : state === HealthState.UP,
          rttSeconds: Number.isNaN(rttMs) ? null : rttMs / 1000,
          loss,
        }
      }),
    )
  }

  #compare(upstream: string, way: Way, { state, reason }: HealthRow): void {
    const wasDown = this.#down.has(way.row)
    const isDown = state === HealthState.DOWN || state === HealthState.LOOP
    // a suspicion is none yet, neither that it is down nor that it is back
    if (isDown === wasDown || (wasDown && state !== HealthState.UP)) return
    const message = isDown ? (state === HealthState.LOOP ? LEADS_BACK : DOES_NOT_ANSWER) : ANSWERS_AGAIN
    const facts = { upstream, url: wayText(way), reason: isDown ? (reason?.code ?? null) : null }
    if (isDown) this.#down.add(way.row)
    else this.#down.delete(way.row)
    this.#options.events.emit('upstream', message, facts)
    // what is wrong with a certificate stands in the log already, in more detail
    if (reason === Failure.upstream_certificate) return
    if (isDown) this.#options.log.warn(facts, message)
    else this.#options.log.info(facts, message)
  }
}

const DOES_NOT_ANSWER = 'the upstream does not answer: it is not asked until it does'
const ANSWERS_AGAIN = 'the upstream answers again'
const LEADS_BACK = 'the upstream leads back to this gateway: it is not asked'

/** As good as the best way to it. */
export function stateOf(ways: readonly UpstreamWayStatus[]): UpstreamState {
  return ORDER.find((state) => ways.some((way) => way.state === state)) ?? 'unknown'
}

function wayStatus(way: Way, row: HealthRow): UpstreamWayStatus {
  const { state, rttMs, p95Ms } = row
  return {
    url: wayText(way),
    state: NAMES[state],
    sinceSeconds: state === HealthState.UNKNOWN ? null : Math.max(0, Math.round((monotonicClock() - row.since) / 1000)),
    rttSeconds: Number.isNaN(rttMs) ? null : rttMs / 1000,
    p95Seconds: Number.isNaN(p95Ms) ? null : p95Ms / 1000,
    loss: Math.round(row.loss * 1000) / 1000,
    reason: state === HealthState.UP ? null : (row.reason?.code ?? null),
  }
}
