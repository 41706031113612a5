import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monotonicClock } from '../../net/clock.ts'
import { Flusher } from '../../net/flusher.ts'
import { createQuicEngine } from '../../net/quic/load.ts'
import type { QuicEngine } from '../../net/quic.ts'
import { Wheel } from '../../net/wheel.ts'
import { DohLink } from '../load/doh-link.ts'
import { DotLink } from '../load/dot-link.ts'
import type { Dial } from '../load/lane.ts'
import { ScheduledLoad } from '../load/scheduled-load.ts'
import { DoqLink } from './doq-link.ts'
import { CONNECTIONS, type LoadPlan } from './plan.ts'
import { Questions } from './questions.ts'

/** Asks by a schedule that does not wait for answers, in a process that does nothing else. */
const plan = JSON.parse(process.argv[2] ?? '') as LoadPlan

function dialOf(engine: QuicEngine): Dial {
  const { transport, port } = plan
  switch (transport) {
    case 'dot':
      return (events) => new DotLink(port, events)
    case 'doh':
      return (events) => new DohLink(port, events)
    case 'doq':
      return (events) => new DoqLink({ engine, port }, events)
  }
}

const keys = mkdtempSync(join(tmpdir(), 'atlas-bench-'))
try {
  const engine = createQuicEngine(keys, { clock: monotonicClock, wheel: new Wheel(monotonicClock), flusher: new Flusher() })
  if ('unavailable' in engine) throw new Error(`Cannot load with DNS over QUIC: ${engine.unavailable}`)
  const questions = new Questions(`new${plan.run}-${plan.transport}`, plan.run)
  const schedule = { ...plan, connections: CONNECTIONS[plan.transport] }
  process.send?.(await new ScheduledLoad(schedule, dialOf(engine), (index) => questions.at(index)).run())
} finally {
  rmSync(keys, { recursive: true, force: true })
}
