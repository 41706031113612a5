import { setTimeout as sleep } from 'node:timers/promises'
import { type Context, type Outcome, type Part, skipped } from '../bench.ts'
import { inChild } from '../child.ts'
import { dnsperf, hasDnsperf } from '../dnsperf.ts'
import { median } from '../measure.ts'
import { nameFile } from '../name-file.ts'
import { residentBytes } from '../servers/resident-bytes.ts'
import { Stage } from '../servers/stage.ts'
import { contenders } from './servers.ts'

const SCRIPT = new URL('./soak-child.ts', import.meta.url)
const WARM_UP_SECONDS = 30
const SECONDS = 60
const QUARTERS = 4
/** What the collector leaves lying varies by that much. */
const BAR_PERCENT = 5
const MB = 1_000_000

export interface SoakPlan {
  readonly port: number
  readonly seconds: number
}

export interface SoakFigures {
  /** By what the clients did. */
  readonly visits: Readonly<Record<string, number>>
}

export const SOAK: Part = {
  name: 'soak',
  title: 'Memory under mixed traffic',
  method: [
    `dnsperf with 20 connections and as many queries as are answered, and beside it clients that come and go: some ask and leave, reset the connection amid the answers, send what is no DNS, ask ${'2,000'} questions and never read, ask nothing, leave a query half sent. After ${WARM_UP_SECONDS} s of that, what the process has resident is looked at each second for ${SECONDS} s: the median of each quarter.`,
  ],
  run,
}

async function run({ isQuick, progress }: Context): Promise<Outcome> {
  if (!hasDnsperf()) return skipped('dnsperf is not installed')
  const [warmUp, seconds] = isQuick ? [2, 8] : [WARM_UP_SECONDS, SECONDS]
  progress('starting the gateway')
  const stage = await Stage.set(contenders(['ours']))
  try {
    const server = stage.servers.get('ours')
    if (server === undefined) throw new Error('Cannot measure: the gateway did not start')
    const { port, pid } = server
    progress(`${warmUp + seconds} s of traffic`)
    const file = nameFile(stage.folder)
    const load = dnsperf({ transport: 'dot', port, file, seconds: warmUp + seconds, connections: 20, outstanding: 200, hasOpt: true })
    const visitors = inChild<SoakPlan, SoakFigures>(SCRIPT, { port, seconds: warmUp + seconds - 1 })
    await sleep(warmUp * 1000)
    const megabytes: number[] = []
    for (let i = 0; i < seconds - 2; i++) {
      await sleep(1000)
      megabytes.push(residentBytes(pid) / MB)
    }
    const [{ answered, lost }, { visits }] = await Promise.all([load, visitors])
    const length = megabytes.length / QUARTERS
    const quarters = Array.from({ length: QUARTERS }, (_, i) =>
      median(megabytes.slice(Math.floor(i * length), Math.floor((i + 1) * length))),
    )
    const growth = ((quarters.at(-1) ?? Number.NaN) / (quarters[0] ?? Number.NaN) - 1) * 100
    const bar = { text: `≤ ${BAR_PERCENT} %`, isMet: growth <= BAR_PERCENT && lost === 0 }
    return {
      columns: [
        ...quarters.map((_, i) => ({ title: `quarter ${i + 1}, MB`, digits: 1 })),
        { title: 'growth, %', digits: 1 },
        { title: 'lost' },
      ],
      rows: [{ cells: [...quarters, growth, lost], bar }],
      notes: [`${answered.toLocaleString('en')} queries of dnsperf were answered. Connections meanwhile: ${list(visits)}.`],
    }
  } finally {
    await stage.strike()
  }
}

function list(visits: SoakFigures['visits']): string {
  return Object.entries(visits)
    .map(([kind, count]) => `${count.toLocaleString('en')} × ${kind}`)
    .join(', ')
}
