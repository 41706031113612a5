import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { ChallengeSolver } from '../../certs/acme/challenge.ts'
import { createDnsSolver, type DnsSolverConfig } from '../../certs/acme/dns-01/solver.ts'
import type { TransportMeter, TransportTraits } from '../../dns/contracts.ts'
import { monotonicClock } from '../../net/clock.ts'
import type { Config } from '../config/config.ts'
import { resolversOf } from './bootstrap.ts'
import { dnsClient } from './dns-client.ts'
import { DnsZoneServer } from './zone-server.ts'

export interface DnsChallengesDependencies {
  /** The present one. */
  readonly config: () => Config
  readonly meter: (traits: TransportTraits) => TransportMeter
  readonly log: Logger
}

const LEFT_BEHIND = 'a record of dns-01 stays where it is: it may be removed by hand'

/** dns-01 for all certificates of the gateway. */
export class DnsChallenges {
  readonly #dependencies: DnsChallengesDependencies
  /** Made when somebody wants it. */
  #zoneServer: DnsZoneServer | null = null

  constructor(dependencies: DnsChallengesDependencies) {
    this.#dependencies = dependencies
  }

  /** `names`: those of the certificate, at least one. Throws OperationalError. */
  open(dns: DnsSolverConfig, names: readonly string[]): Promise<ChallengeSolver> {
    const { config, meter, log } = this.#dependencies
    const server = (): DnsZoneServer => (this.#zoneServer ??= new DnsZoneServer({ clock: monotonicClock, meter, log }))
    const own = nameServerOf(names)
    return createDnsSolver(dns, {
      client: dnsClient,
      resolvers: () => resolversOf(config()),
      zoneServer: { open: (terms, listen) => server().open(terms, listen) },
      // by which the world reaches the gateway
      nameServer: () => config().public.name ?? own,
      clock: monotonicClock,
      pause: async (ms, signal) => void (await sleep(ms, undefined, { signal, ref: false })),
      onLeftBehind: (error) => log.warn({ err: error }, LEFT_BEHIND),
    })
  }
}

/** The name of a certificate by which the gateway can be reached. */
function nameServerOf(names: readonly string[]): string {
  const [first = ''] = names.toSorted((a, b) => Number(a.startsWith('*.')) - Number(b.startsWith('*.')))
  return first.replace(/^\*\./, '')
}
