import { readAdminToken } from '../admin/token.ts'
import type { Config } from '../config/config.ts'
import { readAccessTokens } from './access-tokens.ts'
import { acmeFlaws } from './acme-check.ts'
import { certificateWarnings } from './certificate-warnings.ts'
import { clientCaWarnings, readClientCas } from './client-cas.ts'
import { readCertificates } from './identities.ts'
import { listenWarnings } from './listeners.ts'
import { readTicketKeys } from './ticket-key-file.ts'
import { selectUpstreams } from './upstream-choice.ts'

/**
 * Everything about a configuration, and the files that it names, that can be found wrong without opening a socket or writing a file.
 * Resolves with warnings, rejects with OperationalError. The state directory is the gateway's own: not everybody who checks may read it.
 */
export async function checkGateway(config: Config): Promise<readonly string[]> {
  const files = await readCertificates(config, { inDate: true })
  const adminFile = config.listen.admin?.tokenFile ?? null
  const adminToken = adminFile === null ? null : readAdminToken(adminFile)
  if (config.access.tokenFile !== null) readAccessTokens(config.access.tokenFile)
  if (config.tls.ticketKeyFile !== null) readTicketKeys(config.tls.ticketKeyFile)
  for (const entry of config.tls.acme) for (const flaw of acmeFlaws(entry, config)) throw flaw
  return [
    ...selectUpstreams(config).warnings,
    ...listenWarnings(config),
    ...certificateWarnings(config, files),
    ...clientCaWarnings(readClientCas(config)),
    ...(adminToken?.warning == null ? [] : [adminToken.warning]),
  ]
}
