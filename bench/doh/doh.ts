import type { Bench } from '../bench.ts'
import { cpuChart } from './chart.ts'
import { CPU, PADDED } from './cpu.ts'
import { DISTURBED } from './disturbed.ts'
import { LATENCY } from './latency.ts'

export const DOH: Bench = { name: 'doh', title: 'DNS over HTTPS on HTTP/2', parts: [CPU, PADDED, LATENCY, DISTURBED], picture: cpuChart }
