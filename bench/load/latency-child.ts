import { questions } from '../questions.ts'
import { DohLink } from './doh-link.ts'
import { DotLink } from './dot-link.ts'
import { type Schedule, ScheduledLoad } from './scheduled-load.ts'

const LINKS = { doh: DohLink, dot: DotLink }
export type LinkKind = keyof typeof LINKS

export interface LatencyPlan extends Schedule {
  readonly kind: LinkKind
  readonly port: number
  /** How many there are before the first comes again; 10,000 by default. */
  readonly names?: number
}

/** Asks by a schedule that does not wait for answers, in a process that does nothing else. */
const plan = JSON.parse(process.argv[2] ?? '') as LatencyPlan
const wires = questions({ hasOpt: false }, plan.names)

const load = new ScheduledLoad(
  plan,
  (events) => new LINKS[plan.kind](plan.port, events),
  (index) => ({ index, wire: wires[index % wires.length] ?? Buffer.alloc(0) }),
)
process.send?.(await load.run())
