import { isDeepStrictEqual } from 'node:util'
import { isLocalCaForOthers } from '../../certs/local-ca.ts'
import { readAdminToken } from '../admin/token.ts'
import type { Config } from '../config/config.ts'
import { formOf } from '../config/form.ts'
import { type IdentitySource, identitySource } from './identities.ts'
import { listenWarnings } from './listeners.ts'
import { selectUpstreams, type UpstreamSelection, urlOf } from './upstream-choice.ts'

/** A configuration with all that its files say: everything that can be found wrong before anything is touched. */
export interface Prepared {
  readonly config: Config
  readonly identities: IdentitySource
  readonly upstreams: UpstreamSelection
  /** Of the admin listener. */
  readonly token: string | null
  /** Whether clients will have to trust another local CA. */
  readonly reissuesCa: boolean
  readonly warnings: readonly string[]
}

/** Reads files, writes nothing. Throws OperationalError. */
export function prepare(config: Config): Prepared {
  const upstreams = selectUpstreams(config)
  const tokenFile = config.listen.admin?.tokenFile ?? null
  const token = tokenFile === null ? null : readAdminToken(tokenFile)
  const warnings = [...upstreams.warnings, ...listenWarnings(config), ...(token?.warning == null ? [] : [token.warning])]
  const identities = identitySource(config)
  const reissuesCa = identities.kind === 'local' && isLocalCaForOthers({ stateDir: config.state, ...identities, now: Date.now() })
  return { config, identities, reissuesCa, upstreams, token: token?.token ?? null, warnings }
}

/** Whether two serve alike, wherever in the file it is written. */
export function isSame(a: Prepared, b: Prepared): boolean {
  return isDeepStrictEqual(essence(a), essence(b))
}

function essence({ config, identities, upstreams, token }: Prepared) {
  return [formOf(config), identities, upstreams.targets.map(({ server, roots }) => [urlOf(server), roots]), token]
}
