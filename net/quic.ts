import type { Endpoint } from './address.ts'

/**
 * The QUIC port (RFC 9000): all that the gateway knows of QUIC. Streams are their ids, as the RFC numbers them; behind it
 * stands a library (net/quic/), one day an engine of our own. docs/quic.md says what the library can and cannot do.
 */

/** RFC 9000 §2.1: bit 0, who opened the stream; bit 1, whether it has one direction only. */
export const SERVER_INITIATED = 0x1
export const UNIDIRECTIONAL = 0x2

/** The first unidirectional stream of each side; sending on it opens it. */
export const FIRST_CLIENT_UNIDIRECTIONAL = 2
export const FIRST_SERVER_UNIDIRECTIONAL = 3

export interface QuicLimits {
  /** RFC 9000 §10.1, milliseconds. */
  readonly idleMs: number
  /** Bidirectional streams that the peer may have open (RFC 9000 §4.6). */
  readonly streams: number
  /** Octets of all streams together that the peer may be ahead of us (RFC 9000 §4.1). */
  readonly window: number
}

export interface QuicIdentity {
  readonly chainPem: string
  readonly keyPem: string
}

export interface QuicListenerOptions {
  /** The operator's word for the listener, for errors. */
  readonly name: string
  readonly endpoint: Endpoint
  /** RFC 9001 §8.1: the one ALPN token that is accepted. */
  readonly protocol: string
  readonly identity: QuicIdentity
  readonly limits: QuicLimits
  /** Open at a time, those in their handshake too; what comes beyond is not answered. */
  readonly connections: number
  readonly acceptor: QuicAcceptor
}

export interface QuicListener {
  readonly endpoint: Endpoint
  /** Closes what is open with NO_ERROR and gives the port free. */
  close(): Promise<void>
}

export interface QuicDialOptions {
  readonly endpoint: Endpoint
  readonly protocol: string
  /** Sent as SNI and looked for in the certificate; a DNS name, the library verifies no addresses. */
  readonly serverName: string
  /** PEM of the roots to trust; null: the certificate is not verified. */
  readonly roots: string | null
  /** Of an earlier connection to the same server under the same name and roots, to resume its session with; TLS decides whether it still does. */
  readonly ticket?: Uint8Array | undefined
  readonly limits: QuicLimits
}

export interface QuicEngine {
  /** Whether unidirectional streams can be opened, which HTTP/3 needs. */
  readonly opensUnidirectional: boolean
  /** Rejects with ATLAS_LISTEN. */
  listen(options: QuicListenerOptions): Promise<QuicListener>
  /** The handler is told how it ended. Rejects when nothing can be sent at all. */
  dial(options: QuicDialOptions, handlerOf: (connection: QuicClientConnection) => QuicClientHandler): Promise<QuicClientConnection>
}

/** Decides about connections as their first packet arrives, before the handshake and before the address is validated. */
export interface QuicAcceptor {
  /** Null turns the connection away. */
  arrived(connection: QuicConnection): QuicHandler | null
}

/** What happens on a connection. Bytes are borrowed for the length of the call. */
export interface QuicHandler {
  /** The handshake is complete. */
  established(): void
  received(stream: number, bytes: Uint8Array, fin: boolean): void
  /** RESET_STREAM or STOP_SENDING came: the stream is gone in both directions. `code` is the application's; 0 when it is unknown. */
  reset(stream: number, code: number): void
  /** What was sent on the stream has been waiting for the peer to take it, for too long or for want of room. */
  stalled(stream: number): void
  /** The last call, whoever closed. */
  closed(reason: QuicCloseReason): void
}

export interface QuicClientHandler extends QuicHandler {
  /**
   * The server gives no credit for this stream of nextStream() (RFC 9000 §4.6): it was not opened, and what was sent on it has not
   * left. Its id will be given out again.
   */
  unopened?(stream: number): void
  /** A ticket for QuicDialOptions.ticket (RFC 8446 §4.6.1). */
  ticket?(bytes: Uint8Array): void
}

export interface QuicCloseReason {
  /** RFC 9000 §20; 0 on an idle timeout too. */
  readonly code: number
  readonly text: string
}

export interface QuicConnection {
  readonly address: string
  readonly port: number
  /** Takes `bytes` over; they leave at the end of the turn. Nothing happens when the stream or the connection is gone. */
  send(stream: number, bytes: Uint8Array, fin: boolean): void
  /** RESET_STREAM and STOP_SENDING with an application error code (RFC 9000 §3.5). */
  reset(stream: number, code: number): void
  /** CONNECTION_CLOSE with an application error code; what has not left yet is lost. */
  close(code: number): void
}

export interface QuicClientConnection extends QuicConnection {
  /**
   * The id of a new bidirectional stream. Throws where the server gives no credit for one, and once the connection has ended, before
   * closed() tells so. Waits for the library's thread, some 0.2 ms.
   */
  openStream(): number
  /**
   * As openStream(), but at once: the id is good as far as is known, and unopened() follows where it is not. -1: the server has no
   * credit to give at the moment. A connection uses the one or the other.
   */
  nextStream(): number
  /** Makes the peer answer, if it is there (RFC 9000 §19.2). */
  ping(): void
  /** Packets that have come from the peer, acknowledgements included. Waits for the library's thread. */
  packetsReceived(): number
  /** Gives everything back, at once. */
  destroy(): Promise<void>
}
