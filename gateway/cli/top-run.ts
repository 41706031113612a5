import { setTimeout as sleep } from 'node:timers/promises'
import { OperationalError } from '../../dns/operational-error.ts'
import { parseDuration } from '../config/units.ts'
import { controlClient } from './control-client.ts'
import type { Output } from './output.ts'
import { Screen } from './screen.ts'
import type { TopOptions } from './top.ts'
import { type TopState, topFrame } from './top-frame.ts'
import { TopWatch } from './top-watch.ts'

const MIN_INTERVAL_MS = 100
const MAX_INTERVAL_MS = 60_000

/** Shows the gateway until somebody quits. Fails with ATLAS_ADMIN when it is gone. */
export async function runTop({ interval, once = false, ...options }: TopOptions, output: Output): Promise<void> {
  const intervalMs = parseInterval(interval)
  const watch = new TopWatch(controlClient(options), () => performance.now())
  if (once || !process.stdout.isTTY) return printOnce(watch, intervalMs, output)
  await watchOn(watch, intervalMs, output.colour)
}

function parseInterval(text: string): number {
  const ms = parseDuration(text)
  if (ms !== null && ms >= MIN_INTERVAL_MS && ms <= MAX_INTERVAL_MS) return ms
  throw new OperationalError('ATLAS_USAGE', `expected --interval from 100ms to 1m: received ${JSON.stringify(text)}`)
}

async function printOnce(watch: TopWatch, intervalMs: number, output: Output): Promise<void> {
  await watch.look()
  await sleep(intervalMs)
  output.lines(topFrame(await watch.look(), { columns: 80, rows: Number.POSITIVE_INFINITY }))
}

async function watchOn(watch: TopWatch, intervalMs: number, colour: boolean): Promise<void> {
  const screen = new Screen({ input: process.stdin, output: process.stdout, colour })
  const quit = new AbortController()
  const quitting = new Promise<null>((resolve) => quit.signal.addEventListener('abort', () => resolve(null)))
  let state: TopState | null = null
  const draw = () => {
    if (state !== null) screen.draw(topFrame(state, screen.size))
  }
  screen.open({ onQuit: () => quit.abort(), onResize: draw })
  try {
    while (!quit.signal.aborted) {
      // while it looks, somebody may quit
      state = (await Promise.race([watch.look(), quitting])) ?? state
      void watch.follow(quit.signal)
      draw()
      await Promise.race([sleep(intervalMs, null, { signal: quit.signal }).catch(() => null), quitting])
    }
  } finally {
    quit.abort()
    screen.close()
  }
}
