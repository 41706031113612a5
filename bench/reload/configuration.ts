import { renameSync, writeFileSync } from 'node:fs'
import { domainOf, ROUTES } from './questions.ts'

export const PORTS = { dns: 28_253, dot: 28_254, doh: 28_255, doq: 28_256 }
/** One of them is a second DoT listener. */
const SPARE_PORTS = [28_257, 28_258] as const
/** Routes that a reload changes. */
const MOVED_ROUTES = 5
/** Of the upstreams, all but the last one stay. */
export const UPSTREAMS = 4

/** Of the second DoT listener: a reload gives it the other one. */
export function sparePort(generation: number): number {
  return SPARE_PORTS[generation % 2] as number
}

export interface Situation {
  readonly state: string
  readonly upstreams: readonly string[]
  /** How often it was changed. */
  readonly generation: number
}

/** Writes the configuration at once: who reads the file finds the old one or the new one. */
export function writeConfiguration(file: string, situation: Situation): void {
  const next = `${file}.next`
  // JSON is YAML too
  writeFileSync(next, JSON.stringify(configuration(situation), null, 2))
  renameSync(next, file)
}

/** From one generation to the next a timeout, an access list, a listener's address and five routes change; the caller changes an upstream. */
function configuration({ state, upstreams, generation }: Situation) {
  const isEven = generation % 2 === 0
  const upstreamOf = (route: number): string => `u${(route + (route < MOVED_ROUTES ? generation : 0)) % UPSTREAMS}`
  return {
    state,
    listen: {
      dns: [local(PORTS.dns)],
      dot: [local(PORTS.dot), local(sparePort(generation))],
      doh: [local(PORTS.doh)],
      doq: [local(PORTS.doq)],
      admin: false,
    },
    access: { encrypted: isEven ? ['any'] : ['loopback', 'private'] },
    timeouts: { query: isEven ? '4s' : '5s' },
    upstreams: upstreams.map((url, i) => ({ name: `u${i}`, url })),
    routes: Array.from({ length: ROUTES }, (_, i) => ({ suffix: domainOf(i), upstreams: [upstreamOf(i)] })),
    log: { level: 'warn' },
  }
}

function local(port: number): string {
  return `127.0.0.1:${port}`
}
