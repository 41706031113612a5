import { freemem } from 'node:os'
import type { Context, Outcome, Part, Row } from '../bench.ts'
import { inChild } from '../child.ts'
import type { ContenderName } from './contenders.ts'

const SCRIPT = new URL('./memory-child.ts', import.meta.url)
const MIB = 1024 ** 2
/** What a case may take at most, with its process: octets for each entry. */
const NEEDED = 700
/** The process grows by more than so few entries, and no page is full. */
const FEW = 10_000
const BYTES_BAR = 220
/** Noise of a machine that is not ours alone: the delay may differ from that of an empty cache by this, ms. */
const DELAY_NOISE_MS = 0.5

export interface MemoryCase {
  readonly name: ContenderName
  readonly entries: number
  /** How long it is under load. */
  readonly loadMs: number
}

/** What one case came to. Octets and milliseconds. */
export interface MemoryFigures {
  readonly held: number
  /** Of the table, all that is shared by the threads counted; null where nothing but the process can be looked at. */
  readonly bytes: number | null
  /** What the process grew by. */
  readonly resident: number
  readonly fillMs: number
  readonly delay: { readonly median: number; readonly most: number; readonly longest: number }
  /** Of garbage. */
  readonly longestCollection: number
}

export const MEMORY: Part = {
  name: 'memory',
  title: 'Memory and pauses of large caches',
  method: [
    'Each case in a process of its own: answers of about 100 octets to as many names are stored; ours gets the memory that they would need if every page were filled to its last octet.',
    'Then look-ups of random names, one in 16 followed by a store, 64 in each turn of the event loop; meanwhile a timer of 1 ms tells how long the loop was held up (perf_hooks.monitorEventLoopDelay, its own millisecond included). p50 and p99 are medians of nine parts of the time.',
    'The nearly empty cache has 1,000 entries and gets the same load.',
  ],
  run,
}

async function run(context: Context): Promise<Outcome> {
  const scale = context.isQuick ? 0.05 : 1
  const cases: readonly (readonly [name: ContenderName, entries: number])[] = [
    ['ours', 1000],
    ['ours', 1_000_000 * scale],
    ['ours', 5_000_000 * scale],
    ['Map', 1_000_000 * scale],
    ['lru-cache', 1_000_000 * scale],
  ]
  const rows: Row[] = []
  const notes: string[] = []
  let empty: MemoryFigures | null = null
  for (const [name, entries] of cases) {
    if (entries * NEEDED > freemem()) {
      notes.push(`Left out: ${entries.toLocaleString('en')} entries of ${name}; ${Math.round(freemem() / MIB)} MiB of memory were free.`)
      continue
    }
    context.progress(`${entries.toLocaleString('en')} entries, ${name}`)
    const figures: MemoryFigures = await inChild<MemoryCase, MemoryFigures>(SCRIPT, {
      name,
      entries,
      loadMs: context.isQuick ? 1000 : 18_000,
    })
    rows.push(rowOf(`${name}, ${entries.toLocaleString('en')} entries`, figures, name === 'ours' ? empty : null))
    empty ??= figures
  }
  return { columns: COLUMNS, rows, notes }
}

/** `empty`: the nearly empty one, to compare with; null where nothing is promised. */
function rowOf(what: string, figures: MemoryFigures, empty: MemoryFigures | null): Row {
  const { held, bytes, resident, fillMs, delay, longestCollection } = figures
  const perEntry = bytes === null ? null : bytes / held
  const sizes = held < FEW ? [null, null] : [perEntry, resident / held]
  const cells = [what, held, ...sizes, fillMs / 1000, delay.median, delay.most, delay.longest, longestCollection]
  if (empty === null) return { cells }
  const isMet = (perEntry ?? 0) <= BYTES_BAR && delay.most <= empty.delay.most + DELAY_NOISE_MS
  return { cells, bar: { text: `≤ ${BYTES_BAR} octets; p99 as nearly empty, ± ${DELAY_NOISE_MS} ms`, isMet } }
}

const COLUMNS = [
  { title: '' },
  { title: 'held' },
  { title: 'octets of table / entry', digits: 1 },
  { title: 'octets resident / entry', digits: 1 },
  { title: 'filled in, s', digits: 2 },
  { title: 'loop delay p50, ms', digits: 2 },
  { title: 'p99, ms', digits: 2 },
  { title: 'max, ms', digits: 2 },
  { title: 'longest collection, ms', digits: 1 },
]
