import { allocateHealth, HEALTH_ROWS, HealthRow } from '../../upstream/health-table.ts'

/** Which row of the health table is whose. The main thread decides, so that all threads mean the same. */
export class HealthRows {
  readonly memory = allocateHealth()
  readonly #rows = new Map<string, number>()
  /** In the order in which they were given back: queries that are on their way may still write to those that were last. */
  readonly #free: number[] = Array.from({ length: HEALTH_ROWS }, (_, row) => row)

  /** A row for each of `keys`; whoever had one keeps it, with what is known. */
  assign(keys: readonly string[]): ReadonlyMap<string, number> {
    const wanted = new Set(keys)
    for (const [key, row] of this.#rows) {
      if (wanted.has(key)) continue
      this.#rows.delete(key)
      this.#free.push(row)
    }
    for (const key of wanted) if (!this.#rows.has(key)) this.#rows.set(key, this.#take())
    return this.#rows
  }

  row(row: number): HealthRow {
    return new HealthRow(this.memory, row)
  }

  #take(): number {
    const row = this.#free.shift()
    // upstreams, their URLs and the addresses of a name are bounded well below (knobs.ts, bootstrap.ts)
    if (row === undefined) throw new RangeError(`Cannot watch the upstreams: received more than ${HEALTH_ROWS} ways to them`)
    this.row(row).clear()
    return row
  }
}
