import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parentPort } from 'node:worker_threads'
import type { WorkerSetup } from '../../gateway/data-plane.ts'
import '../../gateway/workers/worker.ts'

/** Run as a worker thread: a worker that goes wrong as soon as a file of that name is in the state directory. */
parentPort?.once('message', watch)

const FAULTS: Readonly<Record<string, () => void>> = {
  throw: () => {
    throw new TypeError('a defect')
  },
  exit: () => process.exit(3),
  block: () => {
    for (;;);
  },
}

function watch({ config, index }: WorkerSetup): void {
  setInterval(() => {
    for (const [name, happen] of Object.entries(FAULTS)) {
      const file = join(config.state, `${name}-${index}`)
      if (!existsSync(file)) continue
      rmSync(file)
      happen()
    }
  }, 10)
}
