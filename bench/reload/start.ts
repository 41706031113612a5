import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Context, Outcome, Part, Row } from '../bench.ts'
import { median } from '../measure.ts'
import { madeUpNames } from '../names.ts'
import { fill, type Setup, type Start, start } from '../starts.ts'
import { Upstream } from '../upstream.ts'
import { PORTS } from './configuration.ts'

const STATE_BAR_MS = 700
const KEPT_BAR_MS = 1000

export const START: Part = {
  name: 'start',
  title: 'Start to first answer',
  method: [
    'The program with its default number of workers and plain DNS, DoT, DoH with HTTP/3 and DoQ on one address each, started anew each time: from the start of the process (a shell that starts Node.js) to the first answer over UDP, asked for every 2 ms.',
    'With nothing there it makes its CA and certificates, otherwise it finds them in its state directory. The answers that were kept (`cache.persist`) are asked for while the upstream is dead. All take turns; medians of the starts.',
  ],
  run,
}

async function run(context: Context): Promise<Outcome> {
  const rounds = context.isQuick ? 1 : 9
  const names = madeUpNames(context.isQuick ? 2000 : 50_000)
  const folder = mkdtempSync(join(tmpdir(), 'atlas-bench-'))
  const upstream = await Upstream.start()
  try {
    context.progress(`filling with ${names.length.toLocaleString('en')} names`)
    const kept = setupIn(join(folder, 'kept'), 'true')
    const { url: dead, before } = await fill(kept, names)
    const starts: Record<'cold' | 'present' | 'kept', Start[]> = { cold: [], present: [], kept: [] }
    for (let round = 0; round < rounds; round++) {
      context.progress(`round ${round + 1}`)
      const setup = setupIn(join(folder, `round${round}`), 'false')
      starts.cold.push(await start(setup, upstream.url, names.slice(0, 1)))
      // what the first one left behind
      starts.present.push(await start(setup, upstream.url, names.slice(0, 1)))
      starts.kept.push(await start(kept, dead, names))
    }
    const back = Math.min(...starts.kept.map(({ answered }) => answered))
    return {
      columns: [{ title: '' }, { title: 'median, ms' }, { title: 'quickest, ms' }, { title: 'slowest, ms' }],
      rows: [
        rowOf('nothing there', starts.cold),
        rowOf('with a state directory', starts.present, STATE_BAR_MS),
        rowOf(`with ${before.toLocaleString('en')} answers kept, too`, starts.kept, KEPT_BAR_MS),
      ],
      notes: [`${rounds} starts of each kind. Of the kept answers, ${back.toLocaleString('en')} were back in the worst start.`],
    }
  } finally {
    await upstream.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

function setupIn(state: string, persist: 'true' | 'false'): Setup {
  return { ports: PORTS, settings: { ATLAS_STATE: state, ATLAS_CACHE_PERSIST: persist } }
}

/** `bar`: what the median may be, milliseconds. */
function rowOf(what: string, starts: readonly Start[], bar: number | null = null): Row {
  const times = starts.map(({ firstAnswerMs }) => firstAnswerMs)
  const middle = median(times)
  const cells = [what, middle, Math.min(...times), Math.max(...times)]
  return bar === null ? { cells } : { cells, bar: { text: `≤ ${bar}`, isMet: middle <= bar } }
}
