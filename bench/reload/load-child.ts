import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { monotonicClock } from '../../net/clock.ts'
import { Flusher } from '../../net/flusher.ts'
import { createQuicEngine } from '../../net/quic/load.ts'
import type { QuicEngine } from '../../net/quic.ts'
import { Wheel } from '../../net/wheel.ts'
import { DohLink } from './doh-link.ts'
import { DoqLink } from './doq-link.ts'
import { DotLink } from './dot-link.ts'
import { type Dial, Lane } from './lane.ts'
import { Ledger } from './ledger.ts'
import { CONNECTIONS, type LoadFigures, type LoadPlan, PATIENCE_MS } from './plan.ts'
import { Questions } from './questions.ts'

/** Asks by a schedule that does not wait for answers, in a process that does nothing else. */
const plan = JSON.parse(process.argv[2] ?? '') as LoadPlan

const SECOND = 1000
const CONNECT_MS = 10_000
const MICROSECONDS = 1_000_000

class Load {
  readonly #questions = new Questions(`new${plan.run}-${plan.transport}`, plan.run)
  readonly #count = Math.floor((plan.rate * plan.durationMs) / SECOND)
  readonly #ledger = new Ledger({ rate: plan.rate, startAt: plan.startAt, count: this.#count })
  readonly #lanes: readonly Lane[]
  readonly #warmUpEnd = plan.startAt + plan.warmUpMs
  #next = 0
  /** What is due at once goes over one connection, as the questions of a page do. */
  #turn = 0
  #longestLag = 0
  #cpuAtWarmUpEnd: NodeJS.CpuUsage | null = null

  constructor(dial: Dial) {
    this.#lanes = Array.from(
      { length: CONNECTIONS[plan.transport] },
      () => new Lane(dial, (index, message) => this.#ledger.settle(index, message, now())),
    )
  }

  async run(): Promise<LoadFigures> {
    const late = sleep(CONNECT_MS, undefined, { ref: false }).then(() => Promise.reject(new Error('Cannot connect to the gateway')))
    await Promise.race([Promise.all(this.#lanes.map((lane) => lane.connected)), late])
    await this.#ask()
    const cpu = process.cpuUsage(this.#cpuAtWarmUpEnd ?? undefined)
    const ended = this.#lanes.reduce((sum, lane) => sum + lane.ended, 0)
    const giveUpAt = now() + PATIENCE_MS
    for (; this.#ledger.open > 0 && now() < giveUpAt; await sleep(1)) this.#pump()
    await Promise.all(this.#lanes.map((lane) => lane.close()))
    return {
      latencies: this.#ledger.latenciesFrom(Math.ceil((plan.rate * plan.warmUpMs) / SECOND)),
      ended,
      longestLag: this.#longestLag,
      cpu: (cpu.user + cpu.system) / MICROSECONDS / ((plan.durationMs - plan.warmUpMs) / SECOND),
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
    for (; this.#next < this.#count && this.#ledger.dueAt(this.#next) <= at; this.#next++) lane.ask(this.#questions.at(this.#next))
  }
}

/** The clock of all processes of the machine. */
function now(): number {
  return performance.timeOrigin + performance.now()
}

function dialOf(engine: QuicEngine): Dial {
  const { transport, port } = plan
  switch (transport) {
    case 'dot':
      return (events) => new DotLink(port, events)
    case 'doh':
      return (events) => new DohLink(port, events)
    case 'doq':
      return (events) => new DoqLink({ engine, port }, events)
  }
}

const keys = mkdtempSync(join(tmpdir(), 'atlas-bench-'))
try {
  const engine = createQuicEngine(keys, { clock: monotonicClock, wheel: new Wheel(monotonicClock), flusher: new Flusher() })
  if ('unavailable' in engine) throw new Error(`Cannot load with DNS over QUIC: ${engine.unavailable}`)
  process.send?.(await new Load(dialOf(engine)).run())
} finally {
  rmSync(keys, { recursive: true, force: true })
}
