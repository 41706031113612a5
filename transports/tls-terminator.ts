import { AsyncLocalStorage } from 'node:async_hooks'
import type { Socket } from 'node:net'
import { createServer, type SecureContext, type Server, type TLSSocket } from 'node:tls'
import type { TransportMeter } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import type { ServerIdentities, SessionTickets } from '../net/tls.ts'
import type { Peer } from './stream-listener.ts'

export interface TlsTerminatorOptions {
  readonly identities: ServerIdentities
  /** RFC 7301: what may be negotiated, preferred first. A client that offers only others gets alert 120, one that offers none is accepted. */
  readonly protocols: readonly string[]
  readonly tickets: SessionTickets
  /** Whether a client that has sent its FIN still gets its answers; one that has not ended its handshake does not. */
  readonly allowHalfOpen: boolean
  readonly meter: TransportMeter
  readonly onSecure: (socket: TLSSocket, peer: Peer) => void
}

/** Whose the connection is: what comes out of TLS does not say what went in, and the system is slow to tell the address again. */
const peers = new AsyncLocalStorage<Peer>()

/**
 * Ends TLS on sockets that the limits have let pass. The TLS server inside never listens: sockets are given to it. When the
 * identities change, new connections get a new server; `setSecureContext` would forget versions, groups and ALPN (design §7).
 */
export class TlsTerminator {
  readonly #options: TlsTerminatorOptions
  #server: Server
  #madeFor: ServerIdentities['options']

  constructor(options: TlsTerminatorOptions) {
    this.#options = options
    this.#madeFor = options.identities.options
    this.#server = makeServer(options)
  }

  accept(socket: Socket, peer: Peer): void {
    const { identities } = this.#options
    if (identities.options !== this.#madeFor) {
      this.#madeFor = identities.options
      this.#server = makeServer(this.#options)
    }
    // no handshake goes on behind a FIN (RFC 8446 §6.1): a client that leaves in the middle must not keep its place until the deadline
    socket.allowHalfOpen = false
    peers.run(peer, () => this.#server.emit('connection', socket))
  }
}

type ContextChosen = (error: null, context: SecureContext) => void

function makeServer(options: TlsTerminatorOptions): Server {
  const { identities, tickets, meter } = options
  const server = createServer({
    ...identities.options,
    ALPNProtocols: [...options.protocols],
    // a handshake that waits for it costs 3 % more
    ...(identities.isSingle
      ? {}
      : { SNICallback: (serverName: string, done: ContextChosen) => done(null, identities.contextFor(serverName)) }),
  })
  tickets.protect(server)
  server.on('tlsClientError', (_error, socket) => {
    // the socket is not asked for its version: Node may have freed the session, and the call would crash the process
    meter.handshake('failed', 'none', false)
    meter.dropped(Failure.handshake_failed)
    socket.destroy()
  })
  if (identities.hasStaples) {
    server.on('OCSPRequest', (certificate, _issuer, done) => done(null, identities.stapleFor(certificate)))
  }
  server.on('secureConnection', (socket) => {
    meter.handshake('ok', socket.getProtocol() ?? 'none', socket.isSessionReused())
    const peer = peers.getStore()
    if (peer === undefined) {
      socket.destroy()
      return
    }
    socket.allowHalfOpen = options.allowHalfOpen
    // RFC 8446 §6.2: after a fatal alert the connection ends at once; Node only says that there was one
    socket.on('error', () => socket.destroy())
    options.onSecure(socket, peer)
  })
  return server
}
