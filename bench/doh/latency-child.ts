import { DohLink } from '../load/doh-link.ts'
import { type Schedule, ScheduledLoad } from '../load/scheduled-load.ts'
import { questions } from './questions.ts'

export interface LatencyPlan extends Schedule {
  readonly port: number
}

/** Asks by a schedule that does not wait for answers, in a process that does nothing else. */
const plan = JSON.parse(process.argv[2] ?? '') as LatencyPlan
const wires = questions({ hasOpt: false })

const load = new ScheduledLoad(
  plan,
  (events) => new DohLink(plan.port, events),
  (index) => ({ index, wire: wires[index % wires.length] ?? Buffer.alloc(0) }),
)
process.send?.(await load.run())
