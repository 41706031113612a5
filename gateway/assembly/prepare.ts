import { isDeepStrictEqual } from 'node:util'
import { isLocalCaForOthers } from '../../certs/local-ca.ts'
import type { TokenEntry } from '../../net/token.ts'
import { readAdminToken } from '../admin/token.ts'
import type { Config } from '../config/config.ts'
import { formOf } from '../config/form.ts'
import { readAccessTokens } from './access-tokens.ts'
import { acmeFlaws, refuseSharedResponders } from './acme-check.ts'
import { certificateWarnings } from './certificate-warnings.ts'
import { type ClientCas, clientCaWarnings, readClientCas } from './client-cas.ts'
import { createCookieSecret, readCookieSecrets } from './cookie-secrets.ts'
import { type IdentitySource, identitySource } from './identities.ts'
import { listenWarnings } from './listeners.ts'
import { readTicketKeys } from './ticket-key-file.ts'
import { selectUpstreams, type UpstreamSelection, urlOf } from './upstream-choice.ts'

/** A configuration with all that its files say: everything that can be found wrong before anything is touched. */
export interface Prepared {
  readonly config: Config
  readonly identities: IdentitySource
  readonly upstreams: UpstreamSelection
  /** Of the admin listener. */
  readonly token: string | null
  /** Those of DNS cookies, hexadecimal; none where cookies are off, or before the first start. */
  readonly cookieSecrets: readonly string[]
  /** Who may use encrypted DNS; null: nobody needs a token. */
  readonly accessTokens: readonly TokenEntry[] | null
  /** What certificates of clients have to lead to. */
  readonly clientCas: ClientCas
  /** Those of session tickets that other gateways have too, hexadecimal; null: the gateway has its own. */
  readonly ticketKeys: readonly string[] | null
  /** Whether clients will have to trust another local CA. */
  readonly reissuesCa: boolean
  readonly warnings: readonly string[]
}

/**
 * Reads files, writes nothing. Rejects with OperationalError. `isStart`: certificates are served in date or not: a machine without a clock
 * starts in 1970, and an expired certificate is better than no listener.
 */
export async function prepare(config: Config, { isStart }: { isStart: boolean }): Promise<Prepared> {
  const upstreams = selectUpstreams(config)
  const tokenFile = config.listen.admin?.tokenFile ?? null
  const token = tokenFile === null ? null : readAdminToken(tokenFile)
  const identities = await identitySource(config, { inDate: !isStart })
  const clientCas = readClientCas(config)
  refuseSharedResponders(identities.acme, config)
  const flaws = identities.acme.flatMap((entry) => acmeFlaws(entry, config))
  // at a start they keep nobody from the certificates that are stored, which may be good for months
  if (!isStart) for (const flaw of flaws) throw flaw
  const warnings = [
    ...upstreams.warnings,
    ...listenWarnings(config),
    ...certificateWarnings(config, identities.files),
    ...clientCaWarnings(clientCas),
    ...flaws.map(({ message }) => message),
    ...(token?.warning == null ? [] : [token.warning]),
  ]
  // in place of certificates that have still to come it may not be needed: then nothing is made
  const { local } = identities
  const isAlone = identities.acme.length === 0
  const reissuesCa = local !== null && isAlone && isLocalCaForOthers({ stateDir: config.state, ...local, now: Date.now() })
  const cookieSecrets = config.edns.cookies ? readCookieSecrets(config.state) : []
  const { tokenFile: accessFile } = config.access
  const accessTokens = accessFile === null ? null : readAccessTokens(accessFile)
  const { ticketKeyFile } = config.tls
  const ticketKeys = ticketKeyFile === null ? null : readTicketKeys(ticketKeyFile)
  return {
    config,
    identities,
    cookieSecrets,
    accessTokens,
    clientCas,
    ticketKeys,
    reissuesCa,
    upstreams,
    token: token?.token ?? null,
    warnings,
  }
}

/** The same with a secret for cookies where one is needed: it is made, and kept in the state directory. Throws OperationalError. */
export async function withCookieSecret(prepared: Prepared): Promise<Prepared> {
  const { config, cookieSecrets } = prepared
  if (!config.edns.cookies || cookieSecrets.length > 0) return prepared
  return { ...prepared, cookieSecrets: await createCookieSecret(config.state) }
}

/** Whether two serve alike, wherever in the file it is written. */
export function isSame(a: Prepared, b: Prepared): boolean {
  return isDeepStrictEqual(essence(a), essence(b))
}

function essence({ config, identities, cookieSecrets, accessTokens, clientCas, ticketKeys, upstreams, token }: Prepared) {
  return [
    formOf(config),
    identities,
    cookieSecrets,
    accessTokens,
    clientCas,
    ticketKeys,
    upstreams.targets.map(({ server, roots }) => [urlOf(server), roots]),
    token,
  ]
}
