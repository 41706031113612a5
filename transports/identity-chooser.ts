import type { SecureContext, TLSSocket } from 'node:tls'
import type { ServerTls } from '../net/tls.ts'

type IdentityChooser = (this: TLSSocket, serverName: string, done: (error: null, context?: SecureContext) => void) => void

/** The SNICallback of a TLS server that has several identities. */
export function identityChooser(tls: ServerTls): IdentityChooser {
  return function (serverName, done) {
    done(
      null,
      tls.contextFor(serverName, () => this.getSharedSigalgs()),
    )
  }
}
