import { X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { PRIVATE_MODE, PUBLIC_MODE, readSmallFile, writeAtomic } from './disk.ts'
import { type Identity, isIssuedBy, parseIdentity } from './identity.ts'
import { authorityPath, isAuthorityForOthers, openAuthority } from './local-authority.ts'
import { type Issuer, issueLeaf } from './local-issue.ts'
import { haveSameNames, type LocalNames, parseLocalNames } from './local-names.ts'

export interface LocalCaOptions {
  /** Holds `ca.pem`, `ca.key` and `identities/local/<first name>/{chain,key}.pem`. One process at a time (the state lock). */
  readonly stateDir: string
  /** Host names without wildcards; the first one names the directory. */
  readonly names: readonly string[]
  /** Those of `names` whose direct subdomains the certificate is for too, as a wildcard. */
  readonly subdomainsOf: readonly string[]
  /** IPv4 and IPv6, any notation. Together with `names` 1 to 100. */
  readonly addresses: readonly string[]
  /** Milliseconds since 1970. */
  readonly now: number
}

export interface LocalCa {
  /** The server certificate as it was when the CA was opened. */
  readonly identity: Identity
  /** The file that clients are to trust. */
  readonly caPath: string
  readonly caPem: string
  /** SHA-256 of the CA certificate, hex pairs with colons. */
  readonly caFingerprint: string
  /** There was no CA before. */
  readonly created: boolean
  /** Another CA took the place of the one that clients may trust already: they must be told of this one. */
  readonly reissuedCa: boolean
  /** When an identity of this CA is in the last third of its life. Milliseconds since 1970. */
  dueAt(identity: Identity): number
  /** A new identity. Throws OperationalError. */
  renew(now: number): Promise<Identity>
}

/**
 * A CA of our own, made on first start, and a server certificate under it, so that encrypted DNS works without a public name.
 * The CA can vouch for the given names and addresses only; when these change it is made anew. Throws OperationalError for a bad
 * name, and for a CA that cannot be read or written.
 */
export async function openLocalCa(options: LocalCaOptions): Promise<LocalCa> {
  const names = parseLocalNames(options)
  const { previous, ...issuer } = await openAuthority({ stateDir: options.stateDir, names, now: options.now })
  const caFingerprint = issuer.certificate.fingerprint256
  const leaf = new LocalLeaf({ issuer, names: withWildcards(names, options.subdomainsOf), stateDir: options.stateDir })
  const identity = leaf.stored(options.now) ?? (await leaf.issue(options.now))
  return {
    identity,
    caPath: authorityPath(options.stateDir),
    caPem: issuer.certificate.toString(),
    caFingerprint,
    created: previous === null,
    reissuedCa: previous !== null && previous.fingerprint256 !== caFingerprint,
    dueAt,
    renew: (now) => leaf.issue(now),
  }
}

/** Whether there is a CA that clients may trust, and openLocalCa() would put another in its place. Writes nothing; throws as that does. */
export function isLocalCaForOthers(options: Omit<LocalCaOptions, 'subdomainsOf'>): boolean {
  return isAuthorityForOthers({ stateDir: options.stateDir, names: parseLocalNames(options), now: options.now })
}

/** With 397 days that is four months: time to notice that renewing fails. */
const RENEW_AT_SHARE_LEFT = 1 / 3

function dueAt({ notBefore, notAfter }: Identity): number {
  return notAfter - (notAfter - notBefore) * RENEW_AT_SHARE_LEFT
}

/** The CA may vouch for them without more: what it permits, it permits with all that is below. */
function withWildcards({ names, addresses }: LocalNames, subdomainsOf: readonly string[]): LocalNames {
  const wildcards = names.filter((name) => subdomainsOf.includes(name)).map((name) => `*.${name}`)
  return { names: [...names, ...wildcards], addresses }
}

class LocalLeaf {
  readonly #issuer: Issuer
  readonly #names: LocalNames
  readonly #source: { readonly cert: string; readonly key: string; readonly origin: string }

  constructor({ issuer, names, stateDir }: { issuer: Issuer; names: LocalNames; stateDir: string }) {
    const directory = join(stateDir, 'identities', 'local', names.names[0] ?? names.addresses[0] ?? '')
    this.#issuer = issuer
    this.#names = names
    this.#source = { cert: join(directory, 'chain.pem'), key: join(directory, 'key.pem'), origin: 'local CA' }
  }

  /** What is on disk, if it will do for a while. It can be made again at any time, so whatever is wrong with it only means null. */
  stored(now: number): Identity | null {
    try {
      const chainPem = readSmallFile(this.#source.cert)
      const keyPem = readSmallFile(this.#source.key)
      if (chainPem === null || keyPem === null) return null
      const identity = parseIdentity({ chainPem, keyPem, source: this.#source, now })
      const isOurs = isIssuedBy(new X509Certificate(identity.chainPem), this.#issuer.certificate) && haveSameNames(identity, this.#names)
      return isOurs && now <= dueAt(identity) ? identity : null
    } catch {
      return null
    }
  }

  async issue(now: number): Promise<Identity> {
    const { certPem, keyPem } = await issueLeaf(this.#issuer, { names: this.#names, now })
    const identity = parseIdentity({ chainPem: certPem, keyPem, source: this.#source, now })
    // a crash in between leaves a pair that does not match: the next start makes another one
    await writeAtomic(this.#source.key, { text: identity.keyPem, mode: PRIVATE_MODE })
    await writeAtomic(this.#source.cert, { text: identity.chainPem, mode: PUBLIC_MODE })
    return identity
  }
}
