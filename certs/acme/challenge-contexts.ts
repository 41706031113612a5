import { createSecureContext, type SecureContext } from 'node:tls'
import type { ServerChallenges } from '../../net/tls.ts'
import { hostName } from '../store.ts'
import type { ChallengeCertificate } from './challenge-certificate.ts'

interface Shown {
  readonly certificate: ChallengeCertificate
  /** Made when it is first wanted: with each challenge all of a hundred names would hold up the thread for 50 ms. */
  context: SecureContext | null
}

/** The challenges of tls-alpn-01 that one thread shows. */
export class ChallengeContexts implements ServerChallenges {
  /** By server name. */
  #pending: ReadonlyMap<string, Shown> = new Map()

  get isPending(): boolean {
    return this.#pending.size > 0
  }

  contextFor(serverName: string): SecureContext | null {
    const shown = this.#pending.get(hostName(serverName))
    if (shown === undefined) return null
    const { certPem, keyPem } = shown.certificate
    shown.context ??= createSecureContext({ cert: certPem, key: keyPem })
    return shown.context
  }

  /** For new handshakes. Where two are for the same name, the later one is shown. */
  replace(certificates: readonly ChallengeCertificate[]): void {
    this.#pending = new Map(certificates.map((certificate) => [certificate.serverName, { certificate, context: null }]))
  }
}
