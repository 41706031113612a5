import { readExternalKey } from '../../certs/acme/account.ts'
import { refuseUnusableProgram } from '../../certs/acme/dns-01/hook-program.ts'
import { refuseLongZone } from '../../certs/acme/dns-01/responder-solver.ts'
import { readTsigKey } from '../../certs/acme/dns-01/tsig-key.ts'
import { loadRoots } from '../../certs/roots.ts'
import { OperationalError } from '../../dns/operational-error.ts'
import { formatEndpoint } from '../../net/address.ts'
import type { AcmeConfig, AcmeDnsConfig, Config } from '../config/config.ts'
import { overlaps } from './listeners.ts'

/** What is wrong with the files, the program and the addresses that an entry of `tls.acme` names. Opens no socket, starts nothing. */
export function acmeFlaws({ ca, eab, dns, origin }: AcmeConfig, { listen }: Pick<Config, 'listen'>): readonly OperationalError[] {
  return [
    ...flawsOf(() => ca !== null && loadRoots(ca)),
    ...flawsOf(() => eab !== null && readExternalKey(eab)),
    ...(dns === null ? [] : flawsOf(() => checkDns(dns, { origin, listen }))),
  ]
}

/** Throws OperationalError where the gateway would have to answer DNS for clients and for CAs at the same address. */
export function refuseSharedResponders(acme: readonly AcmeConfig[], { listen }: Pick<Config, 'listen'>): void {
  for (const { dns, origin } of acme) if (dns?.kind === 'responder') refuseShared(dns, { origin, listen })
}

interface Surroundings {
  readonly origin: string
  readonly listen: Config['listen']
}

function checkDns(dns: AcmeDnsConfig, { origin, listen }: Surroundings): void {
  switch (dns.kind) {
    case 'hook':
      refuseUnusableProgram(dns.command[0] ?? '', origin)
      break
    case 'update':
      if (dns.tsig !== null) readTsigKey(dns.tsig)
      break
    case 'responder':
      refuseLongZone(dns.zone)
      refuseShared(dns, { origin, listen })
  }
}

function refuseShared(dns: Extract<AcmeDnsConfig, { kind: 'responder' }>, { origin, listen }: Surroundings): void {
  for (const endpoint of dns.listen) {
    const holder = listen.dns.find((each) => overlaps(each.endpoint, endpoint))
    if (holder === undefined) continue
    const reason = `listen.dns has ${formatEndpoint(holder.endpoint)}: take another address, or name those of listen.dns one by one`
    throw new OperationalError('ATLAS_LISTEN', `Cannot answer CAs by dns-01 on ${formatEndpoint(endpoint)} (${origin}): ${reason}`)
  }
}

function flawsOf(look: () => unknown): readonly OperationalError[] {
  try {
    look()
    return []
  } catch (error) {
    if (!(error instanceof OperationalError)) throw error
    return [error]
  }
}
