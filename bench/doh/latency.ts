import type { Context, Outcome, Part } from '../bench.ts'
import { skipped } from '../bench.ts'
import { compareLatencies } from '../servers/latency.ts'
import { isInstalled } from '../servers/programs.ts'
import { Stage } from '../servers/stage.ts'
import { contenders } from './servers.ts'

const LOAD = { kind: 'doh', rate: 5000, connections: 20 } as const
const ROUNDS = 5
const BAR = 1.1

export const LATENCY: Part = {
  name: 'latency',
  title: 'Latency at a fixed rate',
  method: [
    `${LOAD.rate.toLocaleString('en')} GETs a second over ${LOAD.connections} connections, by a schedule that does not wait for answers: a latency counts from the moment at which its question was due. Answers from the cache. Both servers take turns; medians of the rounds, and of the ratios of a round.`,
  ],
  run,
}

async function run({ isQuick, progress }: Context): Promise<Outcome> {
  if (!isInstalled('h2load')) return skipped('h2load, which fills the caches, is not installed (nghttp2-client)')
  progress('starting and filling the servers')
  const stage = await Stage.set(contenders(['ours', 'dnsdist'], { hasOpt: false }))
  try {
    const load = { ...LOAD, seconds: isQuick ? 2 : 8 }
    return await compareLatencies(stage, { load, rounds: isQuick ? 1 : ROUNDS, bar: BAR, progress })
  } finally {
    await stage.strike()
  }
}
