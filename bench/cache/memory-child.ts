import { monitorEventLoopDelay, PerformanceObserver } from 'node:perf_hooks'
import { Dice, median, threadNanoseconds } from '../measure.ts'
import { nameOf, Traffic } from '../traffic.ts'
import { type Contender, makeContender } from './contenders.ts'
import type { MemoryCase, MemoryFigures } from './memory.ts'
import { bytesOf, entriesIn, memoryFor } from './size.ts'

/** One case of the memory part, in a process that does nothing else. */
const { name, entries, loadMs } = JSON.parse(process.argv[2] ?? '') as MemoryCase

/** Names made at a time: none of them is kept. */
const BATCH = 10_000
/** In one turn of the event loop: look-ups, and among them answers that are stored anew. */
const TURN = 64
const STORES_PER_TURN = 4
/** Of load, until what the filling has left is collected. */
const WARM_UP_MS = 1000
const MILLISECOND = 1_000_000
/** The load is looked at in parts: another program that held the processor for a moment spoils one of them. */
const WINDOWS = 9

type Delay = MemoryFigures['delay']

const memory = memoryFor(entries)
// code is compiled and its memory taken before anything is counted
fill(makeContender(name, { memory: () => memoryFor(BATCH), entries: BATCH }), BATCH)
globalThis.gc?.()
const before = process.memoryUsage.rss()
const contender = makeContender(name, { memory: () => memory, entries })
const fillMs = fill(contender, entries)
globalThis.gc?.()
const resident = process.memoryUsage.rss() - before
const figures: MemoryFigures = {
  held: name === 'ours' ? entriesIn(memory) : entries,
  bytes: name === 'ours' ? bytesOf(memory) : null,
  resident,
  fillMs,
  ...(await load(contender)),
}
process.send?.(figures)

/** Milliseconds that the stores took. */
function fill(target: Contender, count: number): number {
  let spent = 0
  for (let first = 0; first < count; first += BATCH) {
    const traffic = new Traffic(Array.from({ length: Math.min(BATCH, count - first) }, (_, i) => nameOf(first + i)))
    const answers = traffic.answers()
    const from = threadNanoseconds()
    for (const [i, answer] of answers.entries()) target.store(traffic.ask(i, 0), answer, 0)
    spent += threadNanoseconds() - from
  }
  return spent / MILLISECOND
}

/** Looks up and stores in every turn of the event loop, for `loadMs`; how long the loop was held up meanwhile. */
async function load(target: Contender): Promise<Pick<MemoryFigures, 'delay' | 'longestCollection'>> {
  const dice = new Dice()
  const traffic = new Traffic(Array.from({ length: Math.min(entries, 10 * BATCH) }, () => nameOf(dice.below(entries))))
  const out = Buffer.alloc(65_535)
  const pauses: number[] = []
  new PerformanceObserver((list) => pauses.push(...list.getEntries().map(({ duration }) => duration))).observe({ entryTypes: ['gc'] })
  const delay = monitorEventLoopDelay({ resolution: 1 })
  let isWarm = false
  const windows: Delay[] = []
  let until = performance.now() + WARM_UP_MS
  for (let i = 0; windows.length < WINDOWS; ) {
    if (performance.now() >= until) {
      if (isWarm) windows.push(readDelay(delay))
      isWarm = true
      delay.reset()
      delay.enable()
      until = performance.now() + loadMs / WINDOWS
    }
    for (const end = i + TURN; i < end; i++) {
      const at = i % traffic.count
      if (i % (TURN / STORES_PER_TURN) === 0) target.store(traffic.ask(at, 0), traffic.answer(at, 0), 0)
      target.reply(traffic.ask(at, 1), out)
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
  delay.disable()
  const of = (pick: (each: Delay) => number): number => median(windows.map(pick))
  const delays = {
    median: of((each) => each.median),
    most: of((each) => each.most),
    longest: Math.max(...windows.map(({ longest }) => longest)),
  }
  return { delay: delays, longestCollection: Math.max(0, ...pauses) }
}

function readDelay(delay: ReturnType<typeof monitorEventLoopDelay>): Delay {
  const [median = 0, most = 0, longest = 0] = [delay.percentile(50), delay.percentile(99), delay.max].map((each) => each / MILLISECOND)
  return { median, most, longest }
}
