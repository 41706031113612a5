import type { Identity } from './identity.ts'

/** One certificate that the gateway is to have, as things are with it. */
export interface CertificateState {
  /** Where it comes from, for people: a file, "local CA", "ACME <host>". */
  readonly source: string
  /** What it is for: host names, wildcards, canonical addresses. The first one names it. */
  readonly names: readonly string[]
  /** The present ones, one for each kind of key; none until there is one that can be used. */
  readonly identities: readonly Identity[]
  /** When it will be renewed, milliseconds since 1970; null: by whoever writes the files. */
  readonly renewsAt: number | null
  /** Why the last attempt brought nothing new; null: it did. */
  readonly problem: CertificateProblem | null
}

export interface CertificateProblem {
  /** "Cannot X: reason: what was received". */
  readonly message: string
  /** Milliseconds since 1970: since when it is so, and when it is tried again; null: when something changes. */
  readonly since: number
  readonly retriesAt: number | null
  /** How often it was tried since then. */
  readonly attempts: number
}

/** Where certificates come from, while the gateway runs. What is in use stays in use whatever goes wrong here. */
export interface IdentityProvider {
  readonly certificates: readonly CertificateState[]
  /** Does at once what is otherwise done when it is due, for the certificate of this name. Throws OperationalError; the present one stays. */
  renew(name: string): Promise<void>
  /** Begins nothing more; resolves when what was begun is over. */
  stop(): Promise<void>
}

/** Who hears of what providers do. */
export interface CertificateObserver {
  /** `identities` of a certificate have changed: they are to be served. */
  changed(certificate: CertificateState): void
  /** The attempt failed, for another reason than the one before. */
  failed(certificate: CertificateState): void
}
