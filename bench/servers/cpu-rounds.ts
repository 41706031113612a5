import { dnsperf, type Load } from '../dnsperf.ts'
import { processNanoseconds } from './process-time.ts'
import type { Stage } from './stage.ts'

const MICROSECOND = 1000

/** What a load came to at one server, one figure a round. */
export interface CpuFigures {
  /** Of processor time for each answer. */
  readonly micros: number[]
  readonly perSecond: number[]
  /** Questions without an answer, or with one that is a failure. */
  lost: number
}

interface Rounds<Name extends string> {
  readonly load: Omit<Load, 'port'>
  readonly portOf: (name: Name, port: number) => number
  readonly rounds: number
  readonly progress: (round: number) => void
}

/** Puts each server under the same load once a round, in turns. */
export async function cpuRounds<Name extends string>(
  stage: Stage<Name>,
  { load, portOf, rounds, progress }: Rounds<Name>,
): Promise<ReadonlyMap<Name, CpuFigures>> {
  const figures = new Map<Name, CpuFigures>([...stage.servers.keys()].map((name) => [name, { micros: [], perSecond: [], lost: 0 }]))
  for (let round = 0; round < rounds; round++) {
    progress(round + 1)
    for (const [name, { port, pid }] of stage.turns(round)) {
      const before = processNanoseconds(pid)
      const { answered, succeeded, lost, perSecond } = await dnsperf({ ...load, port: portOf(name, port) })
      const own = figures.get(name) as CpuFigures
      own.micros.push((processNanoseconds(pid) - before) / MICROSECOND / answered)
      own.perSecond.push(perSecond)
      own.lost += lost + answered - succeeded
    }
  }
  return figures
}
