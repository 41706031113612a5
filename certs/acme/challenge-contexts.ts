import { createSecureContext, type SecureContext } from 'node:tls'
import type { ServerChallenges } from '../../net/tls.ts'
import { hostName } from '../store.ts'
import type { ChallengeCertificate } from './challenge-certificate.ts'

/** The challenges of tls-alpn-01 that one thread shows. */
export class ChallengeContexts implements ServerChallenges {
  #contexts: ReadonlyMap<string, SecureContext> = new Map()

  get isPending(): boolean {
    return this.#contexts.size > 0
  }

  contextFor(serverName: string): SecureContext | null {
    return this.#contexts.get(hostName(serverName)) ?? null
  }

  /** For new handshakes. Where two are for the same name, the later one is shown. */
  replace(certificates: readonly ChallengeCertificate[]): void {
    this.#contexts = new Map(
      certificates.map(({ serverName, certPem, keyPem }) => [serverName, createSecureContext({ cert: certPem, key: keyPem })]),
    )
  }
}
