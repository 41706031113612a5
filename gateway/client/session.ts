import type { TLSSocket } from 'node:tls'

/** An answer, and what is known of the encrypted connection on which it came; null: there was none. */
export interface Reply {
  readonly message: Uint8Array
  readonly session: Session | null
}

export interface Session {
  readonly tls: TlsFacts
  readonly handshakeMs: number
  /** Null: DNS without HTTP. */
  readonly http: HttpFacts | null
  readonly quic: boolean
}

/** Null: the library does not say. */
interface TlsFacts {
  /** As Node.js writes it: "TLSv1.3". */
  readonly version: string
  /** Of the key exchange. */
  readonly group: string | null
  readonly cipher: string | null
  /** The empty string: none was negotiated. */
  readonly alpn: string
  readonly resumed: boolean | null
}

export interface HttpFacts {
  readonly version: '1.1' | '2' | '3'
  readonly method: 'GET' | 'POST'
  readonly status: number
}

/** RFC 9001 §4.2: QUIC has no other version. */
const QUIC_TLS = { version: 'TLSv1.3', group: null, cipher: null, resumed: null }

/** The session of a socket whose handshake is complete. */
export function tlsSession(socket: TLSSocket, handshakeMs: number, http: HttpFacts | null = null): Session {
  const tls = {
    version: socket.getProtocol() ?? '',
    group: groupOf(socket),
    cipher: socket.getCipher().standardName,
    alpn: socket.alpnProtocol || '',
    resumed: socket.isSessionReused(),
  }
  return { tls, handshakeMs, http, quic: false }
}

export function quicSession(alpn: string, handshakeMs: number, http: HttpFacts | null): Session {
  return { tls: { ...QUIC_TLS, alpn }, handshakeMs, http, quic: true }
}

/** Runs `onReady` with the time that the handshake took, without that of the connection below it. */
export function afterHandshake(socket: TLSSocket, onReady: (handshakeMs: number) => void): void {
  let startedAt = performance.now()
  socket.once('connect', () => {
    startedAt = performance.now()
  })
  socket.once('secureConnect', () => onReady(performance.now() - startedAt))
}

/** Node.js names hybrid groups too; finite fields have only a size. */
function groupOf(socket: TLSSocket): string | null {
  const { type, name }: { type?: string; name?: string } = socket.getEphemeralKeyInfo() ?? {}
  return name ?? type ?? null
}
