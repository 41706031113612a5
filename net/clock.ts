/** Milliseconds on a monotonic clock with an arbitrary origin. Handed in, so that tests can turn it by hand. */
export type Clock = () => number

const NS_PER_MS = 1e6

/** performance.now() counts from the start of its thread, process.hrtime from an origin that all threads have in common, but is slow to read. */
const ORIGIN_MS = Number(process.hrtime.bigint()) / NS_PER_MS - performance.now()

/** The same time in all threads of the process. */
export const monotonicClock: Clock = () => performance.now() + ORIGIN_MS
