/** Values one thread may count; a value is eight octets. */
const CAPACITY = 8192
/** Octets for the names and labels of the series: 64 for each value, a histogram has one name for 17 of them. */
const DIRECTORY_BYTES = 64 * CAPACITY
const HEADER_BYTES = 8
const VALUES_OFFSET = HEADER_BYTES + DIRECTORY_BYTES

/**
 * The counters of one thread in memory that the main thread can read. Series are made as they are needed, so the slab carries
 * its own directory: family, labels and width of each, a line each, in the order of their slots. One thread writes, and makes an entry
 * visible when it is complete; a thread that takes its place finds the series and counts on.
 */
export class Slab {
  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(VALUES_OFFSET + CAPACITY * Float64Array.BYTES_PER_ELEMENT)
  }

  readonly values: Float64Array
  /** Octets of the directory in use. */
  readonly #used: Int32Array
  readonly #directory: Buffer
  readonly #families = new Map<string, Map<string, number>>()
  #read = 0
  #slots = 0

  constructor(memory: SharedArrayBuffer) {
    this.#used = new Int32Array(memory, 0, 1)
    this.#directory = Buffer.from(memory, HEADER_BYTES, DIRECTORY_BYTES)
    this.values = new Float64Array(memory, VALUES_OFFSET)
    this.refresh()
  }

  /** The first slot of the series, which has `width` of them; the same labels have the same slot. For the one thread that writes. */
  slot(family: string, labels: string, width: number): number {
    const known = this.#families.get(family)?.get(labels)
    if (known !== undefined) return known
    const entry = Buffer.from(`${family}\n${labels}\n${width}\n`)
    const end = this.#read + entry.length
    if (this.#slots + width > CAPACITY || end > DIRECTORY_BYTES) {
      throw new RangeError(`Cannot make a metric: received more than ${CAPACITY} values or ${DIRECTORY_BYTES} octets of names`)
    }
    entry.copy(this.#directory, this.#read)
    Atomics.store(this.#used, 0, end)
    this.#read = end
    return this.#enter(family, labels, width)
  }

  /** The series of a family, labels → first slot. */
  series(family: string): ReadonlyMap<string, number> {
    return this.#families.get(family) ?? NONE
  }

  /** Reads what another thread has added. */
  refresh(): void {
    const end = Atomics.load(this.#used, 0)
    const lines = this.#directory.toString('utf8', this.#read, end).split('\n')
    for (let i = 0; i + 2 < lines.length; i += 3) this.#enter(lines[i] as string, lines[i + 1] as string, Number(lines[i + 2]))
    this.#read = end
  }

  #enter(family: string, labels: string, width: number): number {
    const slot = this.#slots
    this.#slots += width
    const series = this.#families.get(family)
    if (series === undefined) this.#families.set(family, new Map([[labels, slot]]))
    else series.set(labels, slot)
    return slot
  }
}

const NONE: ReadonlyMap<string, number> = new Map()
