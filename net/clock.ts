/** Milliseconds on a monotonic clock with an arbitrary origin. Handed in, so that tests can turn it by hand. */
export type Clock = () => number

const NS_PER_MS = 1e6

/** Readings of both clocks: a thread may lose its core between two of them, but hardly every time. */
const READINGS = 8

/** performance.now() counts from the start of its thread, process.hrtime from an origin that all threads have in common, but is slow to read. */
const ORIGIN_MS = originMs()

/** The same time in all threads of the process. */
export const monotonicClock: Clock = () => performance.now() + ORIGIN_MS

function originMs(): number {
  let [origin, closest] = [0, Number.POSITIVE_INFINITY]
  for (let i = 0; i < READINGS; i++) {
    const before = performance.now()
    const common = Number(process.hrtime.bigint()) / NS_PER_MS
    const after = performance.now()
    if (after - before < closest) [origin, closest] = [common - (before + after) / 2, after - before]
  }
  return origin
}
