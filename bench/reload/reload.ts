import type { Bench } from '../bench.ts'
import { LOAD } from './load.ts'
import { START } from './start.ts'

export const RELOAD: Bench = {
  name: 'reload',
  title: 'Reload and start',
  parts: [LOAD, START],
}
