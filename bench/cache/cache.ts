import type { Bench } from '../bench.ts'
import { HIT_RATE } from './hit-rate.ts'
import { LOOKUP } from './lookup.ts'
import { MEMORY } from './memory.ts'
import { RESTART } from './restart.ts'
import { WORKERS_PART } from './workers.ts'

export const CACHE: Bench = {
  name: 'cache',
  title: 'The cache',
  parts: [LOOKUP, MEMORY, HIT_RATE, WORKERS_PART, RESTART],
}
