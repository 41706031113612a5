import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Context, Outcome, Part } from '../bench.ts'
import { RunningGateway } from '../gateway.ts'
import { median } from '../measure.ts'
import { madeUpNames } from '../names.ts'
import { UdpAsker } from '../udp-asker.ts'
import { Upstream } from '../upstream.ts'

const PORTS = { dns: 28_153, dot: 28_154 }
const FIRST_ANSWER_BAR_MS = 500
const BACK_BAR = 99
const FIRST_ANSWER_MS = 30_000

export const RESTART: Part = {
  name: 'restart',
  title: 'Restart with the cache kept',
  method: [
    'The program with `cache.persist`, one worker: filled through UDP, ended by SIGTERM, started again while its upstream is dead.',
    'From the start of the process (a shell that starts Node.js) to the first answer from the cache, asked for every 2 ms; then all names are asked once more. Medians of the starts.',
  ],
  run,
}

/** What a start came to. */
interface Start {
  readonly firstAnswerMs: number
  readonly answered: number
}

async function run(context: Context): Promise<Outcome> {
  const names = madeUpNames(context.isQuick ? 5000 : 200_000)
  const state = mkdtempSync(join(tmpdir(), 'atlas-bench-'))
  try {
    context.progress(`filling with ${names.length.toLocaleString('en')} names`)
    const { url, before, stopMs } = await fill(names, state)
    const starts: Start[] = []
    for (let i = 0; i < (context.isQuick ? 1 : 5); i++) {
      context.progress(`start ${i + 1}`)
      starts.push(await start(names, state, url))
    }
    context.progress('starts without the cache')
    const bare: number[] = []
    for (const _ of starts) bare.push(await startBare(state, url))
    const firstAnswerMs = median(starts.map((each) => each.firstAnswerMs))
    const back = (100 * Math.min(...starts.map(({ answered }) => answered))) / before
    return {
      columns: [{ title: '' }, { title: 'measured', digits: 1 }],
      rows: [
        { cells: ['answers in the cache before', before.toLocaleString('en')] },
        { cells: ['from SIGTERM to the end of the process, ms', stopMs] },
        { cells: ['from start to serving, nothing kept, ms', median(bare)] },
        {
          cells: ['from start to first answer, ms', firstAnswerMs],
          bar: { text: `≤ ${FIRST_ANSWER_BAR_MS}`, isMet: firstAnswerMs <= FIRST_ANSWER_BAR_MS },
        },
        { cells: ['live answers back, the worst start, %', back], bar: { text: `≥ ${BACK_BAR}`, isMet: back >= BACK_BAR } },
      ],
      notes: [`${starts.length} starts.`],
    }
  } finally {
    rmSync(state, { recursive: true, force: true })
  }
}

/** Asks for all names; `before`: those that the cache had at the end, with the upstream dead already. */
async function fill(names: readonly string[], state: string): Promise<{ url: string; before: number; stopMs: number }> {
  const upstream = await Upstream.start()
  const { url } = upstream
  const gateway = launch(state, url)
  try {
    await gateway.ready()
    const asker = await UdpAsker.connect(PORTS.dns)
    const answered = await asker.ask(names)
    if (answered < names.length) throw new Error(`Cannot fill the cache: ${answered} of ${names.length} names were answered`)
    await upstream.stop()
    const before = await asker.ask(names)
    asker.close()
    const from = performance.now()
    await gateway.stop()
    return { url, before, stopMs: performance.now() - from }
  } finally {
    await gateway.stop()
  }
}

async function start(names: readonly string[], state: string, url: string): Promise<Start> {
  const asker = await UdpAsker.connect(PORTS.dns)
  const gateway = launch(state, url)
  try {
    if (!(await asker.askUntilAnswered(names[0] ?? '', FIRST_ANSWER_MS)))
      throw new Error('Cannot see an answer from the cache that was kept')
    const firstAnswerMs = performance.now() - gateway.startedAt
    await gateway.ready()
    return { firstAnswerMs, answered: await asker.ask(names) }
  } finally {
    asker.close()
    await gateway.stop()
  }
}

/** What the program takes by itself, milliseconds. */
async function startBare(state: string, url: string): Promise<number> {
  const gateway = launch(state, url, 'false')
  try {
    await gateway.ready()
    return performance.now() - gateway.startedAt
  } finally {
    await gateway.stop()
  }
}

function launch(state: string, url: string, persist = 'true'): RunningGateway {
  const settings = {
    ATLAS_STATE: state,
    ATLAS_UPSTREAMS: url,
    ATLAS_WORKERS: '1',
    ATLAS_CACHE_PERSIST: persist,
    ATLAS_CACHE_MEMORY: '64MiB',
  }
  return new RunningGateway(PORTS, settings)
}
