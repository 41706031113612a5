import type { SecureContext, SecureContextOptions, TlsOptions } from 'node:tls'
import type { QuicIdentity } from './quic.ts'

/** `handshakeTimeout`: milliseconds. */
export type ServerTlsOptions = SecureContextOptions & Pick<TlsOptions, 'handshakeTimeout'>

/**
 * What a TLS listener needs of the certificates, as values: certs/ implements it, gateway.ts hands it to the transports.
 */
export interface ServerIdentities {
  /**
   * The identity for a server name (RFC 6066 §3); undefined: that of `options`, as for an unknown name and for none (conformance
   * DOT-16). Of several with different kinds of key it is the one that `sharedSigalgs`, as TLSSocket.getSharedSigalgs() has them, prefers.
   */
  contextFor(serverName: string | undefined, sharedSigalgs: () => readonly string[]): SecureContext | undefined
  /** Whether that of `options` serves all names. Who looks at it and at `options` at once sees the same identities. */
  readonly isSingle: boolean
  /** Options of the default identity, for `tls.createServer`: certificate and key, one of each kind, versions, groups. Another object when anything in it, or any identity, changes. */
  readonly options: ServerTlsOptions
  /** The default identity as PEM, for QUIC, which offers no choice by name. */
  readonly fallback: QuicIdentity
  /** Whether an HTTP authority's host (no port, no brackets) is a name or an address that one of the identities covers. */
  covers(host: string): boolean
}
