import type { Logger } from 'pino'
import { loadIdentityFiles } from '../../certs/files.ts'
import { openLocalCa } from '../../certs/local-ca.ts'
import { IdentityStore } from '../../certs/store.ts'
import { tlsPolicy } from '../../certs/tls-policy.ts'
import { canonicalAddress, isWildcard } from '../../net/address.ts'
import type { Config } from '../config/config.ts'

/** How often the local certificate's age is looked at; it is renewed months before it expires. */
const RENEWAL_CHECK_MS = 12 * 3_600_000
/** What clients on this machine call it. */
const LOCAL_NAMES = ['localhost']
const LOCAL_ADDRESSES = ['127.0.0.1', '::1']

export interface IdentityAssembly {
  readonly store: IdentityStore
  /** The local CA, when no certificates are configured. */
  readonly localCa: { readonly path: string; readonly fingerprint: string } | null
  /** Stops renewing. */
  stop(): void
}

/** The gateway's certificates: the configured files, or the local CA's. Null when nothing is encrypted. */
export async function assembleIdentities(config: Config, log: Logger): Promise<IdentityAssembly | null> {
  const { doh, dot, doq } = config.listen
  if (doh.length + dot.length + doq.length === 0) return null
  const policy = tlsPolicy({ minVersion: config.tls.minVersion })
  const extraNames = config.public.name === null ? [] : [config.public.name]
  if (config.tls.certificates.length > 0) {
    const store = new IdentityStore(config.tls.certificates.map(loadIdentityFiles), { policy, extraNames })
    return { store, localCa: null, stop: () => {} }
  }
  const names = [...LOCAL_NAMES, ...extraNames]
  const ca = await openLocalCa({ stateDir: config.state, names, addresses: localAddresses(config), now: Date.now() })
  if (ca.reissuedCa)
    log.warn({ ca: ca.caPath }, 'the names of the gateway have changed, so the local CA was made anew: clients must trust it again')
  const store = new IdentityStore([ca.identity], { policy, extraNames })
  const renew = async (): Promise<void> => {
    try {
      const renewed = await ca.renewIfDue(Date.now())
      if (renewed === null) return
      store.replace([renewed])
      log.info({ notAfter: new Date(renewed.notAfter) }, 'local certificate renewed')
    } catch (error) {
      log.error({ err: error }, 'cannot renew the local certificate: the present one stays in use')
    }
  }
  const timer = setInterval(() => void renew(), RENEWAL_CHECK_MS).unref()
  return { store, localCa: { path: ca.caPath, fingerprint: ca.caFingerprint }, stop: () => clearInterval(timer) }
}

/** The addresses by which clients may reach us without a name. A wildcard names none: `public.addresses` does. */
function localAddresses(config: Config): readonly string[] {
  const listeners = [...config.listen.doh, ...config.listen.dot, ...config.listen.doq]
    .map(({ endpoint }) => endpoint.host)
    .filter((host) => !isWildcard(host))
  return [...new Set([...LOCAL_ADDRESSES, ...listeners, ...config.public.addresses].map(canonicalAddress))]
}
