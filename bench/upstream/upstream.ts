import type { Bench } from '../bench.ts'
import { tailChart } from './chart.ts'
import { MISS } from './miss.ts'
import { TAIL } from './tail.ts'

export const UPSTREAM: Bench = { name: 'upstream', title: 'Forwarding to upstreams', parts: [MISS, TAIL], picture: tailChart }
