import { isDeepStrictEqual } from 'node:util'
import type { Logger } from 'pino'
import { AcmeIdentities } from '../../certs/acme/identities.ts'
import { FileIdentities, type FileSource } from '../../certs/file-identities.ts'
import { loadIdentityFiles } from '../../certs/files.ts'
import type { Identity } from '../../certs/identity.ts'
import { LocalIdentities } from '../../certs/local-identities.ts'
import { MAX_LOCAL_NAMES } from '../../certs/local-names.ts'
import type { CertificateObserver, CertificateState, IdentityProvider } from '../../certs/provider.ts'
import type { Storage } from '../../certs/storage.ts'
import { OperationalError } from '../../dns/operational-error.ts'
import { canonicalAddress, isWildcard, parseAddress } from '../../net/address.ts'
import type { AcmeConfig, Config } from '../config/config.ts'
import { openAcme, type SolverFactory } from './acme.ts'

/** What clients on this machine call it. */
const LOCAL_NAMES = ['localhost']
const LOCAL_ADDRESSES = ['127.0.0.1', '::1']

const REISSUED = 'the names of the gateway have changed, so the local CA was made anew: clients must trust it again'

const NO_STAND_IN = 'the local CA cannot stand in for certificates that are missing'

/** Where certificates come from. Two that are equal give the same ones. */
export interface IdentitySource {
  readonly files: readonly FileSource[]
  readonly acme: readonly AcmeConfig[]
  /** The local CA: alone, or in place of certificates that a CA has still to give; null: it is not needed. */
  readonly local: LocalSource | null
}

interface LocalSource {
  readonly names: readonly string[]
  readonly addresses: readonly string[]
  readonly subdomainsOf: readonly string[]
}

const NO_SOURCE: IdentitySource = { files: [], acme: [], local: null }

/** Reads the files that are configured; writes nothing. Rejects with OperationalError. `inDate`: as readCertificates() has it. */
export async function identitySource(config: Config, { inDate }: { inDate: boolean }): Promise<IdentitySource> {
  const { doh, dot, doq } = config.listen
  const { acme } = config.tls
  if (doh.length + dot.length + doq.length === 0) return NO_SOURCE
  const files = await readCertificates(config, { inDate })
  return { files, acme, local: files.length > 0 && acme.length === 0 ? null : localSource(config) }
}

/** The certificates of files. Rejects with OperationalError; `inDate`: also when one has expired, or is not valid yet. */
export async function readCertificates({ tls }: Config, { inDate }: { inDate: boolean }): Promise<readonly FileSource[]> {
  const read: FileSource[] = []
  for (const files of tls.certificates) read.push({ files, identity: await loadIdentityFiles(files, inDate ? {} : { now: null }) })
  return read
}

/** What the local CA is for. */
export function localSource(config: Config): LocalSource {
  const { name } = config.public
  const ownNames = [...new Set([...LOCAL_NAMES, ...(name === null ? [] : [name])])]
  const ownAddresses = [...new Set(localAddresses(config))]
  // those it has room for: it only stands in
  const room = Math.max(0, MAX_LOCAL_NAMES - ownNames.length - ownAddresses.length)
  const wanted = config.tls.acme.flatMap(({ names }) => names).slice(0, room)
  const hosts = wanted.filter((each) => parseAddress(each) === null).map((each) => each.replace(/^\*\./, ''))
  const names = [...new Set([...ownNames, ...hosts])]
  const wildcards = wanted.filter((each) => each.startsWith('*.')).map((each) => each.slice(2))
  // tokens are labels below it; clients accept no wildcard of a top-level domain
  const tokensBelow = config.access.tokenFile !== null && name?.includes('.') === true ? [name] : []
  const addresses = [...ownAddresses, ...wanted.filter((each) => parseAddress(each) !== null)]
  return { names, addresses: [...new Set(addresses)], subdomainsOf: [...new Set([...tokensBelow, ...wildcards])] }
}

export interface IdentityDependencies {
  readonly stateDir: string
  readonly storage: Storage
  readonly solverOf: SolverFactory
  readonly log: Logger
  readonly observer: CertificateObserver
}

/** The local CA, for those who are to trust it. */
export interface LocalCaFacts {
  readonly path: string
  readonly pem: string
  /** SHA-256, hex pairs with colons. */
  readonly fingerprint: string
  /** Names, with what is below them, and addresses: it can vouch for nothing else. */
  readonly names: readonly string[]
}

/** A provider, and what it was made from. */
interface Part<P extends IdentityProvider = IdentityProvider> {
  readonly from: unknown
  readonly provider: P
}

/** The gateway's certificates: those of files, those that CAs give, and the local CA's where these are missing. */
export class IdentityAssembly {
  readonly #source: IdentitySource
  readonly #parts: readonly Part[]
  readonly #local: Part<LocalIdentities> | null

  private constructor(source: IdentitySource, { parts, local }: { parts: readonly Part[]; local: Part<LocalIdentities> | null }) {
    this.#source = source
    this.#parts = parts
    this.#local = local
  }

  static none(): IdentityAssembly {
    return new IdentityAssembly(NO_SOURCE, { parts: [], local: null })
  }

  /** What is as it was in `before` is taken over from it; the rest of that is to be stopped once this is in use. Throws OperationalError. */
  static async open(source: IdentitySource, dependencies: IdentityDependencies, before: IdentityAssembly): Promise<IdentityAssembly> {
    const { storage, observer, solverOf } = dependencies
    const parts: Part[] = []
    const add = async (from: unknown, open: () => Promise<IdentityProvider>): Promise<void> => {
      const known = before.#parts.find((part) => isDeepStrictEqual(currentSource(part), from))
      parts.push(known ?? { from, provider: await open() })
    }
    try {
      for (const file of source.files) await add(file, async () => new FileIdentities(file, observer))
      for (const acme of source.acme) await add(acme, () => openAcme(acme, { storage, observer, solverOf }))
      const isNeeded = parts.length === 0 || parts.some(isMissing)
      const local = isNeeded ? await openLocal(source.local, dependencies, before.#local).catch(standInFailed(parts, dependencies)) : null
      return new IdentityAssembly(source, { parts, local })
    } catch (error) {
      await Promise.all(parts.filter((part) => !before.#parts.includes(part)).map(({ provider }) => provider.stop()))
      throw error
    }
  }

  /** Where they come from; files with what they have been found to hold since. */
  get source(): IdentitySource {
    const files = this.#parts.flatMap(({ provider }) => (provider instanceof FileIdentities ? [provider.source] : []))
    return { ...this.#source, files }
  }

  /** In the order in which they are served: the first is the default. */
  get certificates(): readonly CertificateState[] {
    return this.#providers.flatMap(({ certificates }) => certificates)
  }

  /** The present ones; none when nothing is encrypted. */
  get identities(): readonly Identity[] {
    return this.certificates.flatMap(({ identities }) => identities)
  }

  /** The local CA, where it is in use. */
  get localCa(): LocalCaFacts | null {
    const local = this.#localInUse
    if (local === null) return null
    const { names = [], addresses = [] } = this.source.local ?? {}
    const { caPath: path, caPem: pem, caFingerprint: fingerprint } = local.ca
    return { path, pem, fingerprint, names: [...names, ...addresses] }
  }

  /** Renews at once all certificates that have this name, as RSA beside ECDSA. Throws OperationalError when one of them cannot be. */
  async renew(name: string): Promise<void> {
    const isFor = (provider: IdentityProvider): boolean => hasName(provider, name)
    const own = this.#parts.map(({ provider }) => provider).filter(isFor)
    // what the local CA stands in for is what is wanted
    const wanted = own.length > 0 ? own : this.#providers.filter(isFor)
    if (wanted.length === 0) throw new OperationalError('ATLAS_CERTIFICATE', `Cannot renew: there is no certificate for it: ${name}`)
    const outcomes = await Promise.allSettled(wanted.map((provider) => provider.renew(name)))
    // of others that failed too, each certificate tells itself
    const failed = outcomes.find(({ status }) => status === 'rejected')
    if (failed?.status === 'rejected') throw failed.reason
  }

  /** Gives the account that orders the certificate of this name another key. Throws OperationalError. */
  async rollOver(name: string): Promise<void> {
    const own = this.#parts.map(({ provider }) => provider).filter((provider) => provider instanceof AcmeIdentities)
    const provider = own.find((each) => hasName(each, name))
    if (provider !== undefined) return provider.rollOver()
    throw new OperationalError(
      'ATLAS_CERTIFICATE',
      `Cannot change the key of an ACME account: the certificate comes from elsewhere: ${name}`,
    )
  }

  /** Ends what `next` has not taken over. */
  async stop(next: IdentityAssembly = IdentityAssembly.none()): Promise<void> {
    const kept = new Set([...next.#parts, next.#local])
    const own = [...this.#parts, ...(this.#local === null ? [] : [this.#local])]
    await Promise.all(own.filter((part) => !kept.has(part)).map(({ provider }) => provider.stop()))
  }

  get #providers(): readonly IdentityProvider[] {
    const own = this.#parts.map(({ provider }) => provider)
    const local = this.#localInUse
    return local === null ? own : [...own, local]
  }

  /** Alone, or until the last of the others has a certificate. */
  get #localInUse(): LocalIdentities | null {
    return this.#parts.length === 0 || this.#parts.some(isMissing) ? (this.#local?.provider ?? null) : null
  }
}

/** The watch of files may have found others in them. */
function currentSource({ from, provider }: Part): unknown {
  return provider instanceof FileIdentities ? provider.source : from
}

function hasName({ certificates }: IdentityProvider, name: string): boolean {
  return certificates.some(({ names }) => names.includes(name))
}

function isMissing({ provider }: Part): boolean {
  return provider.certificates.some(({ identities }) => identities.length === 0)
}

/** What there is serves without it, where it only stands in for others. */
function standInFailed(parts: readonly Part[], { log }: IdentityDependencies): (error: unknown) => null {
  return (error) => {
    const isServed = parts.some(({ provider }) => provider.certificates.some(({ identities }) => identities.length > 0))
    if (!isServed || !(error instanceof OperationalError)) throw error
    log.error({ code: error.code, reason: error.message }, NO_STAND_IN)
    return null
  }
}

async function openLocal(
  source: LocalSource | null,
  { stateDir, log, observer }: IdentityDependencies,
  before: Part<LocalIdentities> | null,
): Promise<Part<LocalIdentities> | null> {
  if (source === null) return null
  if (before !== null && isDeepStrictEqual(before.from, source)) return before
  const provider = await LocalIdentities.open({ ...source, stateDir }, observer)
  if (provider.ca.reissuedCa) log.warn({ ca: provider.ca.caPath }, REISSUED)
  return { from: source, provider }
}

/** The addresses by which clients may reach us without a name. A wildcard names none: `public.addresses` does. */
function localAddresses(config: Config): readonly string[] {
  const listeners = [...config.listen.doh, ...config.listen.dot, ...config.listen.doq]
    .map(({ endpoint }) => endpoint.host)
    .filter((host) => !isWildcard(host))
  return [...LOCAL_ADDRESSES, ...listeners, ...config.public.addresses].map(canonicalAddress)
}
