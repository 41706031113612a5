import type { SecureContext, SecureContextOptions, Server, TlsOptions } from 'node:tls'
import type { QuicIdentity } from './quic.ts'

/** `handshakeTimeout`: milliseconds. */
export type ServerTlsOptions = SecureContextOptions & Pick<TlsOptions, 'handshakeTimeout'>

/**
 * What a TLS listener needs of the certificates, as values: certs/ implements it, gateway.ts hands it to the transports.
 */
export interface ServerIdentities {
  /** The identity for a server name (RFC 6066 §3); the default one for an unknown name and for none (conformance DOT-16). */
  contextFor(serverName: string | undefined): SecureContext
  /** Whether there is no other than the default one. Goes with `options`: who looks at both at once sees the same identities. */
  readonly isSingle: boolean
  /** Whether there are staples. Goes with `options`, too: handshakes that have to wait for one cost more. */
  readonly hasStaples: boolean
  /** The OCSP response to show beside a certificate (RFC 6066 §8), given in DER; null: there is none. */
  stapleFor(certificate: Uint8Array): Buffer | null
  /** Options of the default identity, for `tls.createServer`: certificate, key, versions, groups. Another object when anything in it, or any identity, changes, and when there begin or cease to be staples. */
  readonly options: ServerTlsOptions
  /** The default identity as PEM, for QUIC, which offers no choice by name. */
  readonly fallback: QuicIdentity
  /** Whether an HTTP authority's host (no port, no brackets) is a name or an address that one of the identities covers. */
  covers(host: string): boolean
}

/** The keys of session tickets, the same in all threads: whichever of them a client meets next time, its ticket is good there. certs/ implements it. */
export interface SessionTickets {
  /** The server makes and reads tickets with the present keys, also when these change. */
  protect(server: Server): void
}
