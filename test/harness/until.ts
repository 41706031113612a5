import { setTimeout as pause } from 'node:timers/promises'

/** Between two looks: whoever looks without a pause takes the processor away from what it waits for. */
const BETWEEN_LOOKS_MS = 5

/** Looks again and again until it holds; how long that may take is the test runner's business (--test-timeout). */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await pause(BETWEEN_LOOKS_MS)
}
