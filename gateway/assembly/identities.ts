import type { Logger } from 'pino'
import { loadIdentityFiles } from '../../certs/files.ts'
import type { Identity } from '../../certs/identity.ts'
import { openLocalCa } from '../../certs/local-ca.ts'
import { canonicalAddress, isWildcard } from '../../net/address.ts'
import type { Config } from '../config/config.ts'

/** How often the local certificate's age is looked at; it is renewed months before it expires. */
const RENEWAL_CHECK_MS = 12 * 3_600_000
/** What clients on this machine call it. */
const LOCAL_NAMES = ['localhost']
const LOCAL_ADDRESSES = ['127.0.0.1', '::1']

export const REISSUED = 'the names of the gateway have changed, so the local CA was made anew: clients must trust it again'

/** Where certificates come from. Two that are equal give the same ones. */
export type IdentitySource =
  /** Nothing is encrypted. */
  | { readonly kind: 'none' }
  | { readonly kind: 'files'; readonly identities: readonly Identity[]; readonly files: readonly string[] }
  | {
      readonly kind: 'local'
      readonly names: readonly string[]
      readonly addresses: readonly string[]
      readonly subdomainsOf: readonly string[]
    }

/** Reads the files that are configured; writes nothing. Throws OperationalError. */
export function identitySource(config: Config): IdentitySource {
  const { doh, dot, doq } = config.listen
  const { certificates } = config.tls
  if (doh.length + dot.length + doq.length === 0) return { kind: 'none' }
  if (certificates.length > 0)
    return { kind: 'files', identities: certificates.map((files) => loadIdentityFiles(files)), files: certificates.map(({ cert }) => cert) }
  const { name } = config.public
  const names = [...LOCAL_NAMES, ...(name === null ? [] : [name])]
  // tokens are labels below it; clients accept no wildcard of a top-level domain
  const subdomainsOf = config.access.tokenFile !== null && name?.includes('.') === true ? [name] : []
  return { kind: 'local', names, addresses: localAddresses(config), subdomainsOf }
}

export interface IdentityAssembly {
  readonly source: IdentitySource
  /** The present ones; none when nothing is encrypted. */
  readonly identities: readonly Identity[]
  /** The local CA, when no certificates are configured. */
  readonly localCa: { readonly path: string; readonly fingerprint: string } | null
  /** Stops renewing. */
  stop(): void
}

interface IdentityAssemblyDependencies {
  readonly stateDir: string
  readonly log: Logger
  /** The identities have been renewed. */
  readonly onRenewed: (identities: readonly Identity[]) => void
}

/** The gateway's certificates: those of the files, or the local CA's, which is made or made anew where need be. */
export async function assembleIdentities(source: IdentitySource, dependencies: IdentityAssemblyDependencies): Promise<IdentityAssembly> {
  if (source.kind === 'local') return localIdentity(source, dependencies)
  return { source, identities: source.kind === 'files' ? source.identities : [], localCa: null, stop: () => {} }
}

async function localIdentity(
  source: IdentitySource & { kind: 'local' },
  { stateDir, log, onRenewed }: IdentityAssemblyDependencies,
): Promise<IdentityAssembly> {
  const ca = await openLocalCa({ ...source, stateDir, now: Date.now() })
  if (ca.reissuedCa) log.warn({ ca: ca.caPath }, REISSUED)
  let identities: readonly Identity[] = [ca.identity]
  const renew = async (): Promise<void> => {
    try {
      const renewed = await ca.renewIfDue(Date.now())
      if (renewed === null) return
      identities = [renewed]
      log.info({ notAfter: new Date(renewed.notAfter) }, 'local certificate renewed')
      onRenewed(identities)
    } catch (error) {
      log.error({ err: error }, 'cannot renew the local certificate: the present one stays in use')
    }
  }
  const timer = setInterval(() => void renew(), RENEWAL_CHECK_MS).unref()
  return {
    source,
    get identities() {
      return identities
    },
    localCa: { path: ca.caPath, fingerprint: ca.caFingerprint },
    stop: () => clearInterval(timer),
  }
}

/** The addresses by which clients may reach us without a name. A wildcard names none: `public.addresses` does. */
function localAddresses(config: Config): readonly string[] {
  const listeners = [...config.listen.doh, ...config.listen.dot, ...config.listen.doq]
    .map(({ endpoint }) => endpoint.host)
    .filter((host) => !isWildcard(host))
  return [...new Set([...LOCAL_ADDRESSES, ...listeners, ...config.public.addresses].map(canonicalAddress))]
}
