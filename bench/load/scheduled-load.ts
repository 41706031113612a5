import { setTimeout as sleep } from 'node:timers/promises'
import { type Dial, Lane } from './lane.ts'
import { Ledger, now, PATIENCE_MS } from './ledger.ts'
import type { Question } from './link.ts'

const SECOND = 1000
const CONNECT_MS = 10_000
const MICROSECONDS = 1_000_000

export interface Schedule {
  /** Questions a second. */
  readonly rate: number
  /** By now(). */
  readonly startAt: number
  readonly durationMs: number
  /** Of these, what does not count. */
  readonly warmUpMs: number
  readonly connections: number
}

/** What it came to. */
export interface LoadFigures {
  /** From the moment at which the question was due to its answer, milliseconds, in the order of the schedule; PATIENCE_MS: lost. */
  readonly latencies: readonly number[]
  /** Connections that ended before the load did. */
  readonly ended: number
  /** By how much the schedule was missed at most, milliseconds. */
  readonly longestLag: number
  /** Cores that were busy with it. */
  readonly cpu: number
}

/** Asks by a schedule that does not wait for answers. */
export class ScheduledLoad {
  readonly #schedule: Schedule
  readonly #questionAt: (index: number) => Question
  readonly #count: number
  readonly #ledger: Ledger
  readonly #lanes: readonly Lane[]
  readonly #warmUpEnd: number
  #next = 0
  /** What is due at once goes over one connection, as the questions of a page do. */
  #turn = 0
  #longestLag = 0
  #cpuAtWarmUpEnd: NodeJS.CpuUsage | null = null

  constructor(schedule: Schedule, dial: Dial, questionAt: (index: number) => Question) {
    const { rate, startAt, durationMs, warmUpMs, connections } = schedule
    this.#schedule = schedule
    this.#questionAt = questionAt
    this.#count = Math.floor((rate * durationMs) / SECOND)
    this.#warmUpEnd = startAt + warmUpMs
    this.#ledger = new Ledger({ rate, startAt, count: this.#count })
    this.#lanes = Array.from({ length: connections }, () => new Lane(dial, (index, message) => this.#ledger.settle(index, message)))
  }

  async run(): Promise<LoadFigures> {
    const { rate, durationMs, warmUpMs } = this.#schedule
    const late = sleep(CONNECT_MS, undefined, { ref: false }).then(() => Promise.reject(new Error('Cannot connect to the server')))
    await Promise.race([Promise.all(this.#lanes.map((lane) => lane.connected)), late])
    await this.#ask()
    const cpu = process.cpuUsage(this.#cpuAtWarmUpEnd ?? undefined)
    const ended = this.#lanes.reduce((sum, lane) => sum + lane.ended, 0)
    const giveUpAt = now() + PATIENCE_MS
    for (; this.#ledger.open > 0 && now() < giveUpAt; await sleep(1)) this.#pump()
    await Promise.all(this.#lanes.map((lane) => lane.close()))
    return {
      latencies: this.#ledger.latenciesFrom(Math.ceil((rate * warmUpMs) / SECOND)),
      ended,
      longestLag: this.#longestLag,
      cpu: (cpu.user + cpu.system) / MICROSECONDS / ((durationMs - warmUpMs) / SECOND),
    }
  }

  /** Resolves when all has been asked. */
  #ask(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setInterval(() => {
        this.#pump()
        this.#askDue()
        if (this.#next < this.#count) return
        clearInterval(timer)
        resolve()
      }, 1)
    })
  }

  #pump(): void {
    for (const lane of this.#lanes) lane.pump()
  }

  #askDue(): void {
    const at = now()
    if (at >= this.#warmUpEnd) {
      this.#cpuAtWarmUpEnd ??= process.cpuUsage()
      this.#longestLag = Math.max(this.#longestLag, at - this.#ledger.dueAt(this.#next))
    }
    const lane = this.#lanes[this.#turn++ % this.#lanes.length] as Lane
    for (; this.#next < this.#count && this.#ledger.dueAt(this.#next) <= at; this.#next++) lane.ask(this.#questionAt(this.#next))
  }
}
