import { checkServerIdentity, connect, type PeerCertificate, type SecureContext, type TLSSocket } from 'node:tls'
import { Failure } from '../dns/failure.ts'
import { canonicalAddress, type Endpoint } from '../net/address.ts'
import type { Clock } from '../net/clock.ts'
import { hasPinnedKey } from './pins.ts'
import type { TrustObserver } from './server.ts'
import type { Dialer } from './stream.ts'

/** RFC 7858 §3.1 names no ALPN identifier, the registry does; a server that selects none is one from before (RFC 7301 §3.1). */
const DOT_PROTOCOL = 'dot'
/** RFC 8467 §4.1. */
export const QUERY_BLOCK = 128
/** After a refused certificate: time in which questions fail at once, where each would cost both sides a handshake. */
const REFUSAL_MS = 1000
/** A session is resumed without its certificate being looked at: once a day it is, whatever tickets the server gives. */
const MAX_SESSION_MS = 86_400_000
/** An operator recognizes a certificate by less of its names; a server may send thousands. */
const MAX_REASON = 300
/** Node adds it to some reasons; here the answer is `ca`. */
const NODE_ADVICE = /; if the root CA is installed locally, .*/
const NO_SUBJECT = Object.freeze({}) as PeerCertificate['subject']

/** By what a server is known (RFC 8310 §6, strict profile). */
export interface TlsTrust {
  /** Versions, cipher suites and the roots. */
  readonly context: SecureContext
  /** The name it is authenticated by; null: its address. */
  readonly serverName: string | null
  /** Base64 of the SHA-256 of acceptable keys; empty for any. */
  readonly pins: readonly string[]
  /** Whether chain and identity are verified; without that the pins alone decide. */
  readonly verifiesChain: boolean
}

/**
 * Opens TLS connections to one server. A connection is ready once the server is authenticated; what is not authenticated is
 * closed, and there is no other way to the server (RFC 8310 §5: strict).
 */
export class TlsDialer implements Dialer {
  readonly padding = QUERY_BLOCK
  readonly #endpoint: Endpoint
  readonly #trust: TlsTrust
  readonly #protocol: string
  readonly #clock: Clock
  readonly #observer: TrustObserver
  /** The newest ticket, offered once (RFC 8446 §C.4). */
  #session: Buffer | null = null
  #sessionEnd = 0
  #refusedUntil = Number.NEGATIVE_INFINITY
  #isRefused = false

  /** `protocol`: the ALPN identifier that is offered. */
  constructor(endpoint: Endpoint, trust: TlsTrust, dependencies: { clock: Clock; trust: TrustObserver }, protocol: string = DOT_PROTOCOL) {
    this.#endpoint = endpoint
    this.#trust = trust
    this.#protocol = protocol
    this.#clock = dependencies.clock
    this.#observer = dependencies.trust
  }

  get refusal(): Failure | null {
    return this.#clock() < this.#refusedUntil ? Failure.upstream_certificate : null
  }

  dial(onReady: () => void): TLSSocket {
    const { context, serverName, verifiesChain } = this.#trust
    const { host, port } = this.#endpoint
    const session = this.#takeSession()
    const socket = connect({
      host,
      port,
      secureContext: context,
      ALPNProtocols: [this.#protocol],
      rejectUnauthorized: verifiesChain,
      checkServerIdentity: (_host, certificate) => this.#checkIdentity(certificate),
      // RFC 6066 §3: an address is never sent as a server name
      ...(serverName === null ? {} : { servername: serverName }),
      ...(session === null ? {} : { session }),
    })
    let accepted = false
    socket.on('secureConnect', () => {
      accepted = this.#accept(socket)
      if (accepted) onReady()
    })
    // not before: when it is resumed, the session passes for the certificate
    socket.on('session', (ticket) => {
      if (accepted) this.#session = ticket
    })
    socket.on('error', ({ message }) => {
      // set by Node when it refuses a chain or an identity; where neither counts it says nothing
      if (verifiesChain && socket.authorizationError) this.#refuse(message)
    })
    return socket
  }

  /** RFC 8310 §8.1: subjectAltName only. Node would fall back to the common name where there is none. */
  #checkIdentity(certificate: PeerCertificate): Error | undefined {
    const identity = this.#trust.serverName ?? canonicalAddress(this.#endpoint.host)
    return checkServerIdentity(identity, { ...certificate, subject: NO_SUBJECT })
  }

  /** What Node leaves to us once chain and identity are found good, or do not count. */
  #accept(socket: TLSSocket): boolean {
    if (!socket.isSessionReused()) {
      const { pins } = this.#trust
      if (pins.length > 0 && !hasPinnedKey(socket.getPeerCertificate(true), pins)) {
        this.#refuse('no certificate of the chain has a pinned key')
        socket.destroy()
        return false
      }
      this.#sessionEnd = this.#clock() + MAX_SESSION_MS
    }
    if (this.#isRefused) this.#observer.accepted()
    this.#isRefused = false
    return true
  }

  #refuse(reason: string): void {
    this.#session = null
    this.#refusedUntil = this.#clock() + REFUSAL_MS
    if (!this.#isRefused) this.#observer.refused(reason.replace(NODE_ADVICE, '').slice(0, MAX_REASON))
    this.#isRefused = true
  }

  #takeSession(): Buffer | null {
    const session = this.#clock() < this.#sessionEnd ? this.#session : null
    this.#session = null
    return session
  }
}
