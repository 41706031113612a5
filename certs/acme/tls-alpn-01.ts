import { OperationalError, reasonOf } from '../../dns/operational-error.ts'
import type { Challenge, ChallengeSolver } from './challenge.ts'
import { type ChallengeCertificate, issueChallengeCertificate } from './challenge-certificate.ts'

/** Everybody who answers TLS handshakes: a CA may meet any of them. */
export interface TlsServers {
  /** They show these challenges and no others. Rejects when one of them has not said that it does. */
  show(certificates: readonly ChallengeCertificate[]): Promise<void>
  /** The same, as far as that is possible; never rejects. */
  showBestEffort(certificates: readonly ChallengeCertificate[]): Promise<void>
}

/** tls-alpn-01 (RFC 8737) on the gateway's own TLS listeners; one solver for all certificates. */
export class TlsAlpnSolver implements ChallengeSolver {
  readonly type = 'tls-alpn-01'
  readonly #servers: TlsServers
  /** By token; null: it is being made. */
  readonly #pending = new Map<string, ChallengeCertificate | null>()

  constructor(servers: TlsServers) {
    this.#servers = servers
  }

  /** All that are pending: for a server that begins now. */
  get certificates(): readonly ChallengeCertificate[] {
    return [...this.#pending.values()].filter((certificate) => certificate !== null)
  }

  async present(challenge: Challenge): Promise<void> {
    this.#pending.set(challenge.token, null)
    const certificate = await issueChallengeCertificate(challenge, Date.now())
    // an order that was called off has taken it away already
    if (!this.#pending.has(challenge.token)) return
    this.#pending.set(challenge.token, certificate)
    try {
      await this.#servers.show(this.certificates)
    } catch (error) {
      const { value } = challenge.identifier
      throw new OperationalError('ATLAS_CERTIFICATE', `Cannot show the challenge for ${value} (tls-alpn-01): ${reasonOf(error)}`, error)
    }
  }

  async remove({ token }: Challenge): Promise<void> {
    if (this.#pending.delete(token)) await this.#servers.showBestEffort(this.certificates)
  }

  /** There are no sockets of its own. */
  async close(): Promise<void> {}
}
