import { loadIdentityFiles } from '../../certs/files.ts'
import { readAdminToken } from '../admin/token.ts'
import type { Config } from '../config/config.ts'
import { readAccessTokens } from './access-tokens.ts'
import { listenWarnings } from './listeners.ts'
import { readTicketKeys } from './ticket-key-file.ts'
import { selectUpstreams } from './upstream-choice.ts'

/**
 * Everything about a configuration, and the files that it names, that can be found wrong without opening a socket or writing a file.
 * Returns warnings, throws OperationalError. The state directory is the gateway's own: not everybody who checks may read it.
 */
export function checkGateway(config: Config): readonly string[] {
  for (const certificate of config.tls.certificates) loadIdentityFiles(certificate)
  const adminFile = config.listen.admin?.tokenFile ?? null
  const adminToken = adminFile === null ? null : readAdminToken(adminFile)
  if (config.access.tokenFile !== null) readAccessTokens(config.access.tokenFile)
  if (config.tls.ticketKeyFile !== null) readTicketKeys(config.tls.ticketKeyFile)
  return [...selectUpstreams(config).warnings, ...listenWarnings(config), ...(adminToken?.warning == null ? [] : [adminToken.warning])]
}
