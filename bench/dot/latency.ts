import { type Context, type Outcome, type Part, skipped } from '../bench.ts'
import { hasDnsperf } from '../dnsperf.ts'
import { compareLatencies } from '../servers/latency.ts'
import { Stage } from '../servers/stage.ts'
import { contenders } from './servers.ts'

const LOAD = { kind: 'dot', rate: 5000, connections: 20 } as const
const ROUNDS = 5
const BAR = 1.1

export const LATENCY: Part = {
  name: 'latency',
  title: 'Latency at a fixed rate',
  method: [
    `${LOAD.rate.toLocaleString('en')} queries a second over ${LOAD.connections} connections, by a schedule that does not wait for answers: a latency counts from the moment at which its question was due. Answers from the cache. Both servers take turns; medians of the rounds, and of the ratios of a round.`,
  ],
  run,
}

async function run({ isQuick, progress }: Context): Promise<Outcome> {
  if (!hasDnsperf()) return skipped('dnsperf, which fills the caches, is not installed')
  progress('starting and filling the servers')
  const stage = await Stage.set(contenders(['ours', 'dnsdist']))
  try {
    const load = { ...LOAD, seconds: isQuick ? 2 : 8 }
    return await compareLatencies(stage, { load, rounds: isQuick ? 1 : ROUNDS, bar: BAR, progress })
  } finally {
    await stage.strike()
  }
}
