import { HttpChallenges, HttpSolver } from '../../certs/acme/http-01.ts'
import { TlsAlpnSolver } from '../../certs/acme/tls-alpn-01.ts'
import { type Endpoint, isWildcard } from '../../net/address.ts'
import type { AcmeConfig } from '../config/config.ts'
import type { Supervisor } from '../workers/supervisor.ts'
import { hasIpv6 } from './listeners.ts'

/** How CAs are shown that names are ours: what all entries of `tls.acme` have in common. */
export class ChallengeSolvers {
  /** On the TLS listeners of all workers; one for all certificates. */
  readonly tlsAlpn: TlsAlpnSolver
  readonly #http = new HttpChallenges()

  constructor(supervisor: Pick<Supervisor, 'apply' | 'tell'>) {
    this.tlsAlpn = new TlsAlpnSolver({
      show: (certificates) => supervisor.apply({ name: 'challenges', certificates }),
      showBestEffort: (certificates) => supervisor.tell({ name: 'challenges', certificates }),
    })
  }

  /** On the addresses of one certificate. */
  httpFor({ http }: Pick<AcmeConfig, 'http'>): HttpSolver {
    return new HttpSolver(this.#http, usable(http))
  }
}

/** Without the wildcard of IPv6 where this machine has none and another address is left: it is among the defaults. */
function usable(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const others = endpoints.filter(({ host }) => !(host.includes(':') && isWildcard(host)))
  return others.length === 0 || hasIpv6() ? endpoints : others
}
