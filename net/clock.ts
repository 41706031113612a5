/** Milliseconds on a monotonic clock with an arbitrary origin. Handed in, so that tests can turn it by hand. */
export type Clock = () => number

export const monotonicClock: Clock = () => performance.now()
