import type { Config } from '../../gateway/config/config.ts'
import type { WorkerSetup } from '../../gateway/data-plane.ts'
import type { Probing } from '../../gateway/gateway.ts'
import { Slab } from '../../gateway/telemetry/slab.ts'
import type { WorkerHandle } from '../../gateway/workers/protocol.ts'
import { SUPERVISION, type Supervision } from '../../gateway/workers/seat.ts'
import { ThreadLauncher } from '../../gateway/workers/thread.ts'
import type { Endpoint } from '../../net/address.ts'
import { runGateway, type TestGateway } from './gateway.ts'

export interface ThreadedGateway extends TestGateway {
  /** The worker that has this place now. */
  worker(index: number): WorkerHandle
  /** What one worker has counted under a name and the beginning of its labels, all such series together. */
  counted(index: number, family: string, labels?: string): number
}

export interface ThreadOptions {
  readonly script?: URL
  readonly supervision?: Partial<Supervision>
  readonly probing?: Probing
}

/** As production does it: each worker in a thread of its own. */
export async function runThreads(
  upstreams: readonly Endpoint[],
  rest: Partial<Config> = {},
  { script, supervision = {}, probing }: ThreadOptions = {},
): Promise<ThreadedGateway> {
  const { TMPDIR } = process.env
  const umask = process.umask()
  const handles: WorkerHandle[] = []
  const setups: WorkerSetup[] = []
  const threads = new ThreadLauncher(script)
  const launch = (setup: WorkerSetup): WorkerHandle => {
    const handle = threads.launch(setup)
    handles[setup.index] = handle
    setups[setup.index] = setup
    return handle
  }
  // the threads write their log to standard error
  const quiet = { workers: 2, log: { level: 'fatal', queries: { kind: 'share', share: 0 } } } as const
  const gateway = await runGateway(
    upstreams,
    { ...quiet, ...rest },
    {
      launcher: { prepare: (...given) => threads.prepare(...given), launch, close: () => threads.close() },
      supervision: { ...SUPERVISION, ...supervision },
      ...(probing !== undefined && { probing }),
    },
  )
  return {
    ...gateway,
    worker: (index) => handles[index] as WorkerHandle,
    counted(index, family, labels = '') {
      const slab = new Slab((setups[index] as WorkerSetup).memory.counters)
      const series = [...slab.series(family)].filter(([text]) => text.startsWith(labels))
      return series.reduce((sum, [, slot]) => sum + (slab.values[slot] as number), 0)
    },
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]()
      // both are for the whole process
      process.umask(umask)
      if (TMPDIR === undefined) delete process.env.TMPDIR
      else process.env.TMPDIR = TMPDIR
    },
  }
}
