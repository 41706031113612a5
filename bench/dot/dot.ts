import type { Bench } from '../bench.ts'
import { CPU } from './cpu.ts'
import { GOVERNOR } from './governor.ts'
import { HANDSHAKES } from './handshakes.ts'
import { LATENCY } from './latency.ts'
import { MEMORY } from './memory.ts'

import { SOAK } from './soak.ts'

export const DOT: Bench = { name: 'dot', title: 'DNS over TLS', parts: [CPU, HANDSHAKES, MEMORY, LATENCY, GOVERNOR, SOAK] }
