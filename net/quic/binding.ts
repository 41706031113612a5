/**
 * The library's native event interface (@currentspace/http3 0.9.0) as far as the port uses it. It is not among the
 * package's exports; load.ts is the one place that reaches for it.
 */

/** What one event says; native code sends them in batches. */
export const QuicEventType = {
  NEW_SESSION: 1,
  NEW_STREAM: 2,
  DATA: 4,
  FINISHED: 5,
  RESET: 6,
  SESSION_CLOSE: 7,
  DRAIN: 8,
  ERROR: 10,
  HANDSHAKE_COMPLETE: 11,
  SESSION_TICKET: 12,
  SHUTDOWN_COMPLETE: 15,
  STREAM_BLOCKED: 16,
  WRITE_READY: 18,
} as const

export interface QuicEvent {
  readonly eventType: number
  readonly connHandle: number
  /** Negative: the connection itself. */
  readonly streamId: number
  readonly data?: Uint8Array
  readonly fin?: boolean
  readonly meta?: {
    readonly errorCode?: number
    readonly errorReason?: string
    readonly remoteAddr?: string
    readonly remotePort?: number
  }
}

export type QuicEventSink = (events: readonly QuicEvent[]) => void

/** One server socket, or one client connection, with the native thread that serves it. */
export interface QuicNative {
  /** False: no room for more until WRITE_READY. The bytes are copied. */
  streamSend(connection: number, message: { stream: number; bytes: Uint8Array; fin: boolean }): boolean
  streamClose(connection: number, stream: number, code: number): void
  closeSession(connection: number, code: number): void
  /** Smoothed round-trip time, milliseconds; 0 while unknown. Waits for the native thread. */
  rttMs(connection: number): number
  acknowledge(events: number): void
  /** SHUTDOWN_COMPLETE follows. */
  requestShutdown(): void
  /** Waits for the thread to end, and blocks until it has. */
  join(): void
}

export interface QuicNativeClient extends QuicNative {
  /** Waits for the native thread. Not on a connection whose streams get their ids elsewhere: what is first sent on one opens it. */
  openStream(): number
  /** Sends PING (RFC 9000 §19.2). */
  ping(): void
  /** Since the connection began; 0 once it has ended. Waits for the native thread. */
  packetsReceived(): number
}

interface CommonOptions {
  readonly alpn: readonly string[]
  readonly maxIdleTimeoutMs: number
  readonly maxUdpPayloadSize: number
  readonly initialMaxData: number
  readonly initialMaxStreamDataBidiLocal: number
  readonly initialMaxStreamsBidi: number
}

export interface QuicServerOptions extends CommonOptions {
  readonly key: Buffer
  readonly cert: Buffer
  readonly maxConnections: number
  readonly disableRetry: boolean
  readonly disableActiveMigration: boolean
}

export interface QuicClientOptions extends CommonOptions {
  readonly ca: Buffer | undefined
  readonly rejectUnauthorized: boolean
  readonly sessionTicket: Buffer | undefined
}

export interface QuicBinding {
  /** Whether unidirectional streams can be opened, which HTTP/3 needs. */
  readonly opensUnidirectional: boolean
  /** Throws, or rejects, when the address cannot be bound. */
  listen(
    options: QuicServerOptions,
    address: { host: string; port: number },
    sink: QuicEventSink,
  ): Promise<{ native: QuicNative; port: number }>
  connect(
    options: QuicClientOptions,
    server: { host: string; port: number; serverName: string },
    sink: QuicEventSink,
  ): Promise<QuicNativeClient>
}
