import { now } from '../load/ledger.ts'
import type { Order, Report } from './faulty.ts'
import { type FaultyPlan, FaultyServer } from './faulty-server.ts'

/** An upstream in a process of its own, which does what it is told over the channel to its parent until that is gone. */
const plan = JSON.parse(process.argv[2] ?? '') as FaultyPlan
const server = new FaultyServer()

function report(message: Report): void {
  process.send?.(message)
}

process.on('message', (order: Order) => {
  if (order.what === 'count') report({ what: 'count', questions: server.questions })
  else if (order.at <= now()) server.behave(order.behaviour)
  else setTimeout(() => server.behave(order.behaviour), order.at - now())
  if (order.what === 'behave') report({ what: 'told' })
})
process.on('disconnect', () => process.exit())
report({ what: 'listening', port: await server.listen(plan) })
