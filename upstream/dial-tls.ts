import type { Socket } from 'node:net'
import { checkServerIdentity, connect, type PeerCertificate, type SecureContext, type TLSSocket } from 'node:tls'
import { Failure } from '../dns/failure.ts'
import { QUERY_BLOCK } from '../dns/question.ts'
import { canonicalAddress, type Endpoint } from '../net/address.ts'
import type { Clock } from '../net/clock.ts'
import { Complaint } from './complaint.ts'
import { TcpDialer, type TcpDialerOptions } from './dial-tcp.ts'
import type { Dial, Dialer, DialSink } from './dialer.ts'
import { hasPinnedKey } from './pins.ts'
import type { TrustObserver } from './server.ts'

/** RFC 7858 §3.1 names no ALPN identifier, the registry does; a server that selects none is one from before (RFC 7301 §3.1). */
const DOT_PROTOCOLS = ['dot']
/** After a refused certificate, of the server or of ours: time in which questions fail at once, where each would cost both sides a handshake. */
const REFUSAL_MS = 1000
/** A session is resumed without its certificate being looked at: once a day it is, whatever tickets the server gives. */
const MAX_SESSION_MS = 86_400_000
/** Alerts about the certificate that we show (RFC 8446 §6.2), which a server of TLS 1.3 sends when we think that all is well. */
const OUR_CERTIFICATE = /_ALERT_.*(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)/
/** Whatever a server ends a handshake with. */
const ANY_ALERT = /^ERR_SSL_.*_ALERT_/
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

export interface TlsDialerOptions extends TcpDialerOptions {
  readonly trust: TlsTrust
  /** What is offered by ALPN (RFC 7301), the best first. */
  readonly protocols?: readonly string[]
}

/**
 * Opens TLS connections to one server. A connection is ready once the server is authenticated; what is not authenticated is
 * closed, and there is no other way to the server (RFC 8310 §5: strict).
 */
export class TlsDialer implements Dialer {
  readonly padding = QUERY_BLOCK
  readonly #tcp: TcpDialer
  readonly #endpoint: Endpoint
  readonly #trust: TlsTrust
  readonly #protocols: string[]
  readonly #clock: Clock
  /** About the server's certificate, and about what the server says of ours. */
  readonly #distrust: Complaint
  readonly #rejection: Complaint
  /** The newest ticket, offered once (RFC 8446 §C.4). */
  #session: Buffer | null = null
  #sessionEnd = 0
  #refusal: Failure = Failure.upstream_certificate
  #refusedUntil = Number.NEGATIVE_INFINITY

  constructor(options: TlsDialerOptions, dependencies: { clock: Clock; trust: TrustObserver }) {
    const { endpoint, trust, protocols = DOT_PROTOCOLS } = options
    this.#tcp = new TcpDialer(options, dependencies)
    this.#endpoint = endpoint
    this.#trust = trust
    this.#protocols = [...protocols]
    this.#clock = dependencies.clock
    this.#distrust = new Complaint(dependencies.trust)
    this.#rejection = new Complaint(dependencies.trust)
  }

  get refusal(): Failure | null {
    return this.#clock() < this.#refusedUntil ? this.#refusal : null
  }

  dial(sink: DialSink): Dial {
    let dial = this.#tcp.dial({
      ready: (socket) => {
        dial = this.#secure(socket, sink)
      },
      failed: (failure) => sink.failed(failure),
    })
    return { abort: () => dial.abort() }
  }

  answered(): void {
    this.#rejection.withdraw()
  }

  /** Of the TLS connection over `tcp`. */
  #secure(tcp: Socket, sink: DialSink): Dial {
    const socket = this.#connect(tcp)
    let isHeard = false
    let isAccepted = false
    socket.on('secureConnect', () => {
      isAccepted = this.#accept(socket)
      if (!isAccepted) return
      isHeard = true
      sink.ready(socket)
    })
    // not before: when it is resumed, the session passes for the certificate
    socket.on('session', (ticket) => {
      if (isAccepted) this.#session = ticket
    })
    socket.on('error', (error) => this.#onError(socket, error, isAccepted))
    socket.on('close', () => {
      if (!isHeard) sink.failed(this.refusal ?? Failure.upstream_network)
    })
    return {
      abort() {
        if (isHeard) return
        isHeard = true
        socket.destroy()
      },
    }
  }

  #connect(tcp: Socket): TLSSocket {
    const { context, serverName, verifiesChain } = this.#trust
    const session = this.#takeSession()
    return connect({
      socket: tcp,
      secureContext: context,
      ALPNProtocols: this.#protocols,
      rejectUnauthorized: verifiesChain,
      checkServerIdentity: (_host, certificate) => this.#checkIdentity(certificate),
      // RFC 6066 §3: an address is never sent as a server name
      ...(serverName === null ? {} : { servername: serverName }),
      ...(session === null ? {} : { session }),
    })
  }

  #onError(socket: TLSSocket, error: NodeJS.ErrnoException & { reason?: string }, isAccepted: boolean): void {
    // set by Node when it refuses a chain or an identity; where neither counts it says nothing
    if (!isAccepted && this.#trust.verifiesChain && socket.authorizationError) {
      this.#distrustServer(error.message)
      return
    }
    // in TLS 1.3 it comes when our side of the handshake is complete (RFC 8446 §4.4.2.4)
    if (!(isAccepted ? OUR_CERTIFICATE : ANY_ALERT).test(error.code ?? '')) return
    this.#pause(Failure.upstream_network)
    this.#rejection.raise(`the server refuses us: ${error.reason ?? error.message}`)
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
        this.#distrustServer('no certificate of the chain has a pinned key')
        socket.destroy()
        return false
      }
      this.#sessionEnd = this.#clock() + MAX_SESSION_MS
    }
    this.#distrust.withdraw()
    return true
  }

  #distrustServer(reason: string): void {
    this.#pause(Failure.upstream_certificate)
    this.#distrust.raise(reason.replace(NODE_ADVICE, ''))
  }

  #pause(refusal: Failure): void {
    this.#session = null
    this.#refusal = refusal
    this.#refusedUntil = this.#clock() + REFUSAL_MS
  }

  #takeSession(): Buffer | null {
    const session = this.#clock() < this.#sessionEnd ? this.#session : null
    this.#session = null
    return session
  }
}
