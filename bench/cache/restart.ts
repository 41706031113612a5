import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Context, Outcome, Part } from '../bench.ts'
import { median } from '../measure.ts'
import { madeUpNames } from '../names.ts'
import { fill, type Setup, type Start, start, startBare } from '../starts.ts'

const PORTS = { dns: 28_153, dot: 28_154 }
const FIRST_ANSWER_BAR_MS = 500
const BACK_BAR = 99

export const RESTART: Part = {
  name: 'restart',
  title: 'Restart with the cache kept',
  method: [
    'The program with `cache.persist`, one worker: filled through UDP, ended by SIGTERM, started again while its upstream is dead.',
    'From the start of the process (a shell that starts Node.js) to the first answer from the cache, asked for every 2 ms; then all names are asked once more. Medians of the starts.',
  ],
  run,
}

async function run(context: Context): Promise<Outcome> {
  const names = madeUpNames(context.isQuick ? 5000 : 200_000)
  const state = mkdtempSync(join(tmpdir(), 'atlas-bench-'))
  const kept = setupIn(state, 'true')
  try {
    context.progress(`filling with ${names.length.toLocaleString('en')} names`)
    const { url, before, stopMs } = await fill(kept, names)
    const starts: Start[] = []
    for (let i = 0; i < (context.isQuick ? 1 : 5); i++) {
      context.progress(`start ${i + 1}`)
      starts.push(await start(kept, url, names))
    }
    context.progress('starts without the cache')
    const bare: number[] = []
    for (const _ of starts) bare.push(await startBare(setupIn(state, 'false'), url))
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

function setupIn(state: string, persist: 'true' | 'false'): Setup {
  const settings = { ATLAS_STATE: state, ATLAS_WORKERS: '1', ATLAS_CACHE_PERSIST: persist, ATLAS_CACHE_MEMORY: '64MiB' }
  return { ports: PORTS, settings }
}
