/** RFC 8555 §9.7.7, RFC 8738 §3. An address is in its canonical form; a wildcard's value is the name without "*.". */
export interface AcmeIdentifier {
  readonly type: 'dns' | 'ip'
  readonly value: string
}

export type ChallengeType = 'tls-alpn-01' | 'http-01' | 'dns-01'

/** What the CA is to find. */
export interface Challenge {
  readonly identifier: AcmeIdentifier
  /** RFC 8555 §8.3: base64url, checked by whoever made this. */
  readonly token: string
  /** RFC 8555 §8.1: token, ".", thumbprint of the account's key. */
  readonly keyAuthorization: string
}

/** Shows the CA that names are ours, in one of the ways of RFC 8555 §8. Several challenges may be shown at the same time. */
export interface ChallengeSolver {
  readonly type: ChallengeType
  /** Resolves once the CA may look, wherever its questions arrive. Throws OperationalError; remove() is due then too. */
  present(challenge: Challenge): Promise<void>
  /** Nothing of it is left afterwards; never rejects, what cannot be tidied up is logged. */
  remove(challenge: Challenge): Promise<void>
  /** Gives up sockets and files. */
  close(): Promise<void>
}
