import type { ProbeOutcome } from './outcome.ts'

/** Of eight probes a worker, one that hears them gets none with probability e⁻⁸, as the kernel spreads them by port number. */
const PROBES_A_WORKER = 8
/** More would be a load of their own; with more than eight workers one that is well may be taken for a deaf one (16: one in 55). */
const MAX_PROBES = 64
/** A stuck socket costs each probe its timeout: 64 take 16 s at most. */
const CONCURRENCY = 8

/**
 * Those of `workers` that do not answer: asks until every one has been heard, or for as long as is reasonable. None is blamed where
 * nothing failed, or where a probe was refused, which may have been by anybody.
 */
export async function silentWorkers(
  workers: readonly number[],
  ask: () => Promise<ProbeOutcome>,
  stop: AbortSignal,
): Promise<readonly number[]> {
  const silent = new Set(workers)
  let left = Math.min(PROBES_A_WORKER * workers.length, MAX_PROBES)
  let hasFailed = false
  let wasRefused = false
  const lane = async (): Promise<void> => {
    while (silent.size > 0 && !wasRefused && !stop.aborted && left-- > 0) {
      const outcome = await ask()
      if (outcome.outcome === 'ok') silent.delete(outcome.worker)
      hasFailed ||= outcome.outcome === 'failed'
      wasRefused ||= outcome.outcome === 'refused'
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, lane))
  return hasFailed && !wasRefused && !stop.aborted ? [...silent] : []
}
