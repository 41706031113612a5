import type { TLSSocket, TlsOptions } from 'node:tls'
import { ACME_TLS, type ServerChallenges, type ServerTls } from '../net/tls.ts'
import { identityChooser } from './identity-chooser.ts'

export interface AcmeTlsParts {
  readonly tls: ServerTls
  readonly challenges: ServerChallenges
  /** What is negotiated with everybody else, preferred first. */
  readonly protocols: readonly string[]
}

/**
 * Options of a TLS server that answers CAs besides (RFC 8737). In TLS 1.3 the protocol is chosen before the context, which would put
 * its certificate over that of the challenge; in 1.2 after it. There OpenSSL has settled on a kind of key by then: a CA without 1.3 gets
 * no answer where the identity has none of the challenge's kind (ECDSA).
 */
export function acmeTlsOptions({ tls, challenges, protocols }: AcmeTlsParts): Pick<TlsOptions, 'ALPNCallback' | 'SNICallback'> {
  const challenged = new WeakSet<TLSSocket>()
  const choose = identityChooser(tls)
  return {
    ALPNCallback(this: TLSSocket, { servername, protocols: offered }) {
      // RFC 8737 §3: a CA offers nothing else
      if (offered.length !== 1 || offered[0] !== ACME_TLS) return protocols.find((protocol) => offered.includes(protocol))
      // without a server name there is an empty text or none
      const context = servername ? challenges.contextFor(servername) : null
      // conformance ACME-07: nothing else is known by this protocol; the client gets alert 120
      if (context === null) return undefined
      challenged.add(this)
      this.setKeyCert(context)
      return ACME_TLS
    },
    ...(!tls.isSingle && {
      SNICallback(this: TLSSocket, serverName, done) {
        if (challenged.has(this)) done(null)
        else choose.call(this, serverName, done)
      },
    }),
  }
}
