import { LRUCache } from 'lru-cache'
import type { Context, Outcome, Part, Row } from '../bench.ts'
import { Dice } from '../measure.ts'
import { madeUpNames, topNames } from '../names.ts'
import { Traffic } from '../traffic.ts'
import { Ours } from './contenders.ts'
import { entriesIn, memoryFor } from './size.ts'

/** Of the names there is room for this share. */
const ROOM = 1 / 10
/** Of the questions, those that only fill the caches. */
const WARM_UP = 1 / 3

export const HIT_RATE: Part = {
  name: 'hit-rate',
  title: 'Hit rate',
  method: [
    'Names are asked by rank as Zipf has it: the n-th with weight 1/n^s. The first third of the questions fills the caches, the rest counts; no answer expires.',
    'Ours gets the octets that a tenth of the names take if every page is filled to its last octet, LRU (lru-cache) may hold a tenth of the names, or as many as ours held in the end where that is more. The best possible always has the tenth that is asked most.',
  ],
  run,
}

interface Stream {
  readonly title: string
  readonly names: readonly string[]
  readonly exponent: number
}

function run(context: Context): Outcome {
  const questions = context.isQuick ? 200_000 : 3_000_000
  const top = topNames()
  const madeUp = madeUpNames(context.isQuick ? 20_000 : 200_000)
  const streams: Stream[] = [
    { title: `${madeUp.length.toLocaleString('en')} made-up names, s = 1.0`, names: madeUp, exponent: 1 },
    { title: `${madeUp.length.toLocaleString('en')} made-up names, s = 0.8`, names: madeUp, exponent: 0.8 },
    ...(top === null ? [] : [{ title: `${top.length.toLocaleString('en')} real names, s = 1.0`, names: top, exponent: 1 }]),
  ]
  const rows = streams.map((stream) => {
    context.progress(stream.title)
    return rowOf(stream, questions)
  })
  return {
    columns: [
      { title: '' },
      { title: 'room for' },
      { title: 'ours held' },
      ...['ours, %', 'LRU, %', 'best possible, %'].map((title) => ({ title, digits: 2 })),
    ],
    rows,
    notes: [`${questions.toLocaleString('en')} questions of each kind.`, ...(top === null ? ['No list of real names at hand.'] : [])],
  }
}

function rowOf({ title, names, exponent }: Stream, questions: number): Row {
  const stream = zipf({ names: names.length, exponent, questions })
  const room = Math.floor(names.length * ROOM)
  const memory = memoryFor(room, { count: names.length, at: (i) => names[i] as string })
  const ours = oursOn(new Ours(memory), new Traffic(names))
  const rate = (hits: (rank: number) => boolean): number => hitRate(stream, hits)
  const own = rate(ours)
  const held = entriesIn(memory)
  // small names are asked more than large ones, so that there may be room for more than a tenth: LRU gets it too
  const other = rate(lruOf(Math.max(room, held)))
  const best = rate((rank) => rank < room)
  return { cells: [title, room, held, own, other, best], bar: { text: 'ours ≥ LRU', isMet: own >= other } }
}

/** Per cent of the stream behind the warm-up for which `isHit`. */
function hitRate(stream: Uint32Array, isHit: (rank: number) => boolean): number {
  const warm = Math.floor(stream.length * WARM_UP)
  let hits = 0
  for (const [i, rank] of stream.entries()) if (isHit(rank) && i >= warm) hits++
  return (100 * hits) / (stream.length - warm)
}

/** Asks, and stores the answer where there is none. */
function oursOn(ours: Ours, traffic: Traffic): (rank: number) => boolean {
  return (rank) => {
    if (ours.find(traffic.ask(rank, 0))) return true
    const answer = traffic.answer(rank, 0)
    ours.store(traffic.ask(rank, 0), answer, 0)
    return false
  }
}

function lruOf(max: number): (rank: number) => boolean {
  const lru = new LRUCache<number, true>({ max })
  return (rank) => {
    if (lru.get(rank) === true) return true
    lru.set(rank, true)
    return false
  }
}

/** The ranks of the names in the order in which they are asked. */
function zipf({ names, exponent, questions }: { names: number; exponent: number; questions: number }): Uint32Array {
  const sums = new Float64Array(names)
  let sum = 0
  for (let rank = 0; rank < names; rank++) sums[rank] = sum += 1 / (rank + 1) ** exponent
  const dice = new Dice(7)
  return Uint32Array.from({ length: questions }, () => firstAbove(sums, dice.next() * sum))
}

function firstAbove(sorted: Float64Array, value: number): number {
  let low = 0
  let high = sorted.length - 1
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] as number) < value) low = middle + 1
    else high = middle
  }
  return low
}
