import type { Answer } from '../../dns/answer.ts'
import type { Context, Outcome, Part, Row } from '../bench.ts'
import { Dice, interleaved } from '../measure.ts'
import { nameOf, Traffic } from '../traffic.ts'
import { CONTENDERS, type Contender, type ContenderName, makeContender, type Ours } from './contenders.ts'
import { memoryFor } from './size.ts'
import { checkSame, timeReplies, timeSteps, timeStores } from './timing.ts'

const HIT_BAR_NS = 1800

export const LOOKUP: Part = {
  name: 'lookup',
  title: 'Look-up and store',
  method: [
    'Nanoseconds of processor time on one thread; names with two addresses each, stored and asked in random order; medians of rounds in which the three take turns.',
    'Ours: the cache stage on a parsed query (fold and hash the name, find page and slot, copy the entry, verify checksum and key, age the TTLs), then the message for the client: its id, its letter case, its OPT record.',
    'Map and lru-cache write the same octets: they make a string of name, type, class, DO and CD, get an object, copy its Buffer, then set id, letter case, TTLs and OPT record. They share nothing between threads; a Map has no limit, lru-cache one of entries, not of octets. When an answer ends is compared by the caller, which costs less than the TTLs of lru-cache.',
    'The questions lie in memory in the order in which they are asked, as fresh ones come out of a socket; the entries do not. The loop around it is part of every figure.',
  ],
  run,
}

async function run(context: Context): Promise<Outcome> {
  const names = context.isQuick ? 20_000 : 200_000
  const race = new Race(context, names)
  const [loop, key, find] = await race.ownSteps()
  const hit = await race.hits()
  return {
    columns: [{ title: '' }, ...CONTENDERS.map((title) => ({ title }))],
    rows: [
      { ...rowOf('hit: whole stage, message written', hit), bar: { text: `ours ≤ ${HIT_BAR_NS}`, isMet: (hit.ours ?? 0) <= HIT_BAR_NS } },
      rowOf('… the loop alone', { ours: loop }),
      rowOf('… until name and hash are known', { ours: key }),
      rowOf('… until the answer is found', { ours: find }),
      rowOf('miss', await race.misses()),
      rowOf('store, with room', await race.stores()),
      rowOf('store, another is pushed out', await race.evictions()),
    ],
    notes: [`${names.toLocaleString('en')} names. A miss of ours looks for the denial of the name and for a failure too.`],
  }
}

type Figures = Partial<Record<ContenderName, number>>

function rowOf(what: string, figures: Figures): Row {
  return { cells: [what, ...CONTENDERS.map((name) => figures[name] ?? null)] }
}

class Race {
  readonly #context: Context
  readonly #names: number
  readonly #rounds: number
  readonly #stored: Traffic
  readonly #asked: Traffic
  readonly #unknown: Traffic
  readonly #answers: readonly Answer[]
  /** Hold all that is stored, with room to spare. */
  readonly #filled: Readonly<Record<ContenderName, Contender>>

  constructor(context: Context, names: number) {
    const dice = new Dice()
    this.#context = context
    this.#names = names
    this.#rounds = context.isQuick ? 3 : 7
    this.#stored = trafficOf(dice.shuffled(names), 0)
    this.#asked = trafficOf(dice.shuffled(names), 0)
    this.#unknown = trafficOf(dice.shuffled(names), names)
    this.#answers = this.#stored.answers()
    this.#filled = { ours: this.#fill('ours', 2), Map: this.#fill('Map', 2), 'lru-cache': this.#fill('lru-cache', 2) }
    checkSame(Object.values(this.#filled), this.#asked)
  }

  /** The loop, the key, and the whole stage: each with what comes before it. */
  async ownSteps(): Promise<readonly [loop: number, key: number, find: number]> {
    const ours = this.#filled.ours as Ours
    this.#context.progress('steps of a hit')
    const { loop, key, find } = await interleaved(this.#rounds, {
      loop: () => timeSteps(this.#asked, (query) => query.id >= 0),
      key: () => timeSteps(this.#asked, (query) => ours.cache.idOf(query) >= 0),
      find: () => timeSteps(this.#asked, (query) => ours.find(query)),
    })
    return [loop, key, find]
  }

  hits(): Promise<Figures> {
    return this.#run('hits', CONTENDERS, (name) => timeReplies(this.#filled[name], this.#asked))
  }

  misses(): Promise<Figures> {
    return this.#run('misses', CONTENDERS, (name) => timeReplies(this.#filled[name], this.#unknown, 0))
  }

  stores(): Promise<Figures> {
    return this.#run('stores', CONTENDERS, (name) => timeStores(this.#make(name, 2), this.#stored, this.#answers))
  }

  /** Into those that are full already. */
  evictions(): Promise<Figures> {
    const more = this.#unknown.answers()
    return this.#run('evictions', ['ours', 'lru-cache'], (name) => timeStores(this.#fill(name, 1 / 2), this.#unknown, more))
  }

  #run(what: string, names: readonly ContenderName[], job: (name: ContenderName) => number): Promise<Figures> {
    this.#context.progress(what)
    return interleaved(this.#rounds, Object.fromEntries(names.map((name) => [name, () => job(name)])))
  }

  /** With room for `share` of the names. */
  #make(name: ContenderName, share: number): Contender {
    const entries = this.#names * share
    return makeContender(name, { memory: () => memoryFor(entries), entries })
  }

  #fill(name: ContenderName, share: number): Contender {
    const contender = this.#make(name, share)
    timeStores(contender, this.#stored, this.#answers)
    return contender
  }
}

function trafficOf(order: Uint32Array, first: number): Traffic {
  return new Traffic(Array.from(order, (i) => nameOf(first + i)))
}
