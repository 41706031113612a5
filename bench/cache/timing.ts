import type { Answer } from '../../dns/answer.ts'
import type { Query } from '../../dns/query.ts'
import { threadNanoseconds } from '../measure.ts'
import type { Traffic } from '../traffic.ts'
import type { Contender } from './contenders.ts'

/** Asked this long after it was stored, milliseconds: there are TTLs to age. */
const ASKED_AT = 10_000

const out = Buffer.alloc(65_535)

/** Nanoseconds for each question of `traffic`. Throws when `expected` of them are not answered: then something else is measured. */
export function timeReplies(contender: Contender, traffic: Traffic, expected = traffic.count): number {
  let found = 0
  const from = threadNanoseconds()
  for (let i = 0; i < traffic.count; i++) if (contender.reply(traffic.ask(i, ASKED_AT), out) > 0) found++
  const spent = threadNanoseconds() - from
  if (found !== expected) throw new Error(`Cannot measure: expected ${expected} answers: received ${found}`)
  return spent / traffic.count
}

/** Nanoseconds for each answer to the questions of `traffic`. */
export function timeStores(contender: Contender, traffic: Traffic, answers: readonly Answer[]): number {
  const from = threadNanoseconds()
  for (let i = 0; i < traffic.count; i++) contender.store(traffic.ask(i, 0), answers[i] as Answer, 0)
  return (threadNanoseconds() - from) / traffic.count
}

/** Nanoseconds of `step`, which succeeds, for each question of `traffic`. */
export function timeSteps(traffic: Traffic, step: (query: Query) => boolean): number {
  let done = 0
  const from = threadNanoseconds()
  for (let i = 0; i < traffic.count; i++) if (step(traffic.ask(i, ASKED_AT))) done++
  const spent = threadNanoseconds() - from
  if (done !== traffic.count) throw new Error(`Cannot measure: expected ${traffic.count} steps: received ${done}`)
  return spent / traffic.count
}

/** Throws when the contenders do not all write the same octets: nothing is compared that does not do the same. */
export function checkSame(contenders: readonly Contender[], traffic: Traffic): void {
  for (let i = 0; i < traffic.count; i++) {
    const [first, ...others] = contenders.map((each) => out.toString('hex', 0, each.reply(traffic.ask(i, ASKED_AT), out)))
    if (first === '' || others.some((other) => other !== first)) throw new Error(`Cannot compare: received ${[first, ...others].join(' ')}`)
  }
}
