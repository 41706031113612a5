import type { SecureContext, SecureContextOptions, Server, TlsOptions } from 'node:tls'
import type { QuicIdentity } from './quic.ts'

/** `handshakeTimeout`: milliseconds. */
export type ServerTlsOptions = SecureContextOptions & Pick<TlsOptions, 'handshakeTimeout' | 'requestCert' | 'rejectUnauthorized'>

/** RFC 8737 §6.2: the protocol by which a CA looks whether a name is ours. */
export const ACME_TLS = 'acme-tls/1'

/** What CAs are to be shown in TLS handshakes (RFC 8737), as values: certs/ implements it, gateway.ts hands it to the transports. */
export interface ServerChallenges {
  /** Whether there is anything to show. */
  readonly isPending: boolean
  /** For the server name of a CA's handshake; null: it is to be shown nothing under that name. */
  contextFor(serverName: string): SecureContext | null
}

/** Whom a listener takes: clients whose certificate leads to one of these roots. */
export interface ClientCa {
  /** 32 characters, the same for the same roots. */
  readonly id: string
  /** PEM, one at least. */
  readonly roots: readonly string[]
}

/** What a TLS server is made of. */
export interface ServerTls {
  /**
   * The identity for a server name (RFC 6066 §3); undefined: that of `options`, as for an unknown name and for none (conformance
   * DOT-16). Of several with different kinds of key it is the one that `sharedSigalgs`, as TLSSocket.getSharedSigalgs() has them, prefers.
   */
  contextFor(serverName: string | undefined, sharedSigalgs: () => readonly string[]): SecureContext | undefined
  /** Whether that of `options` serves all names. Who looks at it and at `options` at once sees the same identities. */
  readonly isSingle: boolean
  /** Options of the default identity, for `tls.createServer`: certificate and key, one of each kind, versions, groups. Another object when anything in it, or any identity, changes. */
  readonly options: ServerTlsOptions
}

/**
 * What a TLS listener needs of the certificates, as values: certs/ implements it, gateway.ts hands it to the transports.
 */
export interface ServerIdentities extends ServerTls {
  /** The same as it is now, for clients that have to show a certificate of their own. With the same `clientCa` the same object, until something changes. */
  demanding(clientCa: ClientCa): ServerTls
  /** Whether there are staples. Goes with `options`, too: handshakes that have to wait for one cost more. */
  readonly hasStaples: boolean
  /** The OCSP response to show beside a certificate (RFC 6066 §8), given in DER; null: there is none. */
  stapleFor(certificate: Uint8Array): Buffer | null
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
