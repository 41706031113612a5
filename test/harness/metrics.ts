import { setTimeout as pause } from 'node:timers/promises'
import type { TestGateway } from './gateway.ts'

/** What /metrics said at one moment. */
export class Scrape {
  readonly #lines: ReadonlyMap<string, number>

  constructor(text: string) {
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    this.#lines = new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]))
  }

  /** A series, with its labels; 0 for one that nothing was counted under yet. */
  value(series: string): number {
    return this.#lines.get(series) ?? 0
  }

  /** Everything that was dropped, by reason; no reasons that nothing was dropped for. */
  get drops(): Record<string, number> {
    const found = [...this.#lines].map(([series, count]) => [/^atlas_drops_total\{reason="(\w+)"\}$/.exec(series)?.[1], count] as const)
    return Object.fromEntries(found.filter(([reason, count]) => reason !== undefined && count > 0))
  }

  /** All series of one name together. */
  sum(name: string): number {
    return [...this.#lines].reduce((sum, [series, value]) => (series.replace(/\{.*/, '') === name ? sum + value : sum), 0)
  }
}

export async function scrape({ admin }: TestGateway): Promise<Scrape> {
  return new Scrape(await (await fetch(`http://127.0.0.1:${admin.port}/metrics`)).text())
}

export async function metric(gateway: TestGateway, series: string): Promise<number> {
  return (await scrape(gateway)).value(series)
}

export async function dropped(gateway: TestGateway, reason: string): Promise<number> {
  return metric(gateway, `atlas_drops_total{reason="${reason}"}`)
}

/** How long a condition may take on a machine that has much else to do. */
const PATIENCE_MS = 30_000
const BETWEEN_LOOKS_MS = 10

/** Looks again and again until `/metrics` says so; then what it said. `what`: for the error when it never does. */
export async function untilMetrics(gateway: TestGateway, holds: (now: Scrape) => boolean, what = String(holds)): Promise<Scrape> {
  const end = performance.now() + PATIENCE_MS
  for (;;) {
    const now = await scrape(gateway)
    if (holds(now)) return now
    if (performance.now() > end) throw new Error(`Cannot wait longer: expected: ${what}: received ${JSON.stringify(now.drops)}`)
    await pause(BETWEEN_LOOKS_MS)
  }
}
