import type { ChallengeSolver } from '../../certs/acme/challenge.ts'
import { HttpChallenges, HttpSolver } from '../../certs/acme/http-01.ts'
import { TlsAlpnSolver } from '../../certs/acme/tls-alpn-01.ts'
import { type Endpoint, isWildcard } from '../../net/address.ts'
import type { AcmeConfig } from '../config/config.ts'
import type { Supervisor } from '../workers/supervisor.ts'
import type { DnsChallenges } from './dns-challenges.ts'
import { hasIpv6 } from './listeners.ts'

export interface ChallengeSolversDependencies {
  readonly supervisor: Pick<Supervisor, 'apply' | 'tell'>
  readonly dns: DnsChallenges
}

/** How CAs are shown that names are ours: what all entries of `tls.acme` have in common. */
export class ChallengeSolvers {
  /** On the TLS listeners of all workers; one for all certificates. */
  readonly tlsAlpn: TlsAlpnSolver
  readonly #http = new HttpChallenges()
  readonly #dns: DnsChallenges

  constructor({ supervisor, dns }: ChallengeSolversDependencies) {
    this.#dns = dns
    this.tlsAlpn = new TlsAlpnSolver({
      show: (certificates) => supervisor.apply({ name: 'challenges', certificates }),
      showBestEffort: (certificates) => supervisor.tell({ name: 'challenges', certificates }),
    })
  }

  /** For one certificate. Throws OperationalError. */
  async open({ challenge, names, http, dns }: Pick<AcmeConfig, 'challenge' | 'names' | 'http' | 'dns'>): Promise<ChallengeSolver> {
    if (challenge === 'tls-alpn-01') return this.tlsAlpn
    if (challenge === 'http-01') return new HttpSolver(this.#http, usable(http))
    if (dns === null) throw new RangeError('dns-01 without "dns" is refused with the configuration')
    return this.#dns.open(dns, names)
  }
}

/** Without the wildcard of IPv6 where this machine has none and another address is left: it is among the defaults. */
function usable(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const others = endpoints.filter(({ host }) => !(host.includes(':') && isWildcard(host)))
  return others.length === 0 || hasIpv6() ? endpoints : others
}
