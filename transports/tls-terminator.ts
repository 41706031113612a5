import { AsyncLocalStorage } from 'node:async_hooks'
import type { Socket } from 'node:net'
import { createServer, type Server, type TLSSocket, type TlsOptions } from 'node:tls'
import type { TransportMeter } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import {
  ACME_TLS,
  type ServerChallenges,
  type ServerIdentities,
  type ServerTls,
  type ServerTlsOptions,
  type SessionTickets,
} from '../net/tls.ts'
import type { AccessTerms } from './access.ts'
import { acmeTlsOptions } from './acme-tls.ts'
import { holderOfCertificate } from './client-certificate.ts'
import { identityChooser } from './identity-chooser.ts'
import type { Peer } from './stream-listener.ts'

export interface TlsTerminatorOptions {
  readonly identities: ServerIdentities
  /** Whoever is shown one is not served. */
  readonly challenges: ServerChallenges
  /** Whose sockets these are: it may ask for certificates of clients. */
  readonly listener: AccessTerms
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
 * identities change, or what is asked of clients, or CAs are to be shown challenges or are not any more, new connections get a new
 * server; `setSecureContext` would forget versions, groups and ALPN (design §7).
 */
export class TlsTerminator {
  readonly #options: TlsTerminatorOptions
  #server: Server
  #madeFor: ServerTlsOptions
  #showsChallenges: boolean

  constructor(options: TlsTerminatorOptions) {
    this.#options = options
    this.#madeFor = tlsOf(options).options
    this.#showsChallenges = options.challenges.isPending
    this.#server = makeServer(options)
  }

  accept(socket: Socket, peer: Peer): void {
    const { options } = tlsOf(this.#options)
    const { isPending } = this.#options.challenges
    if (options !== this.#madeFor || isPending !== this.#showsChallenges) {
      this.#madeFor = options
      this.#showsChallenges = isPending
      this.#server = makeServer(this.#options)
    }
    // no handshake goes on behind a FIN (RFC 8446 §6.1): a client that leaves in the middle must not keep its place until the deadline
    socket.allowHalfOpen = false
    peers.run(peer, () => this.#server.emit('connection', socket))
  }
}

function tlsOf({ identities, listener: { access } }: TlsTerminatorOptions): ServerTls {
  return access.clientCa == null ? identities : identities.demanding(access.clientCa)
}

function makeServer(options: TlsTerminatorOptions): Server {
  const { challenges, protocols, tickets, meter } = options
  const { clientCa = null } = options.listener.access
  const tls = tlsOf(options)
  const server = createServer({
    ...tls.options,
    ...(challenges.isPending ? acmeTlsOptions({ tls, challenges, protocols }) : usualOptions(tls, protocols)),
  })
  tickets.protect(server)
  const fail = (socket: TLSSocket): void => {
    // the socket is not asked for its version: Node may have freed the session, and the call would crash the process
    meter.handshake('failed', 'none', false)
    meter.dropped(Failure.handshake_failed)
    socket.destroy()
  }
  server.on('tlsClientError', (_error, socket) => fail(socket))
  if (options.identities.hasStaples) {
    server.on('OCSPRequest', (certificate, _issuer, done) => done(null, options.identities.stapleFor(certificate)))
  }
  server.on('secureConnection', (socket) => {
    const holder = clientCa === null ? null : holderOfCertificate(socket.getPeerX509Certificate(), clientCa, Date.now())
    if (clientCa !== null && holder === null) {
      fail(socket)
      return
    }
    meter.handshake('ok', socket.getProtocol() ?? 'none', socket.isSessionReused())
    const peer = peers.getStore()
    if (peer === undefined) {
      socket.destroy()
      return
    }
    // RFC 8737 §4: it carries no data, and its client closes it at once
    if (socket.alpnProtocol === ACME_TLS) {
      socket.destroySoon()
      return
    }
    socket.allowHalfOpen = options.allowHalfOpen
    // RFC 8446 §6.2: after a fatal alert the connection ends at once; Node only says that there was one
    socket.on('error', () => socket.destroy())
    options.onSecure(socket, holder === null ? peer : { ...peer, holder })
  })
  return server
}

function usualOptions(tls: ServerTls, protocols: readonly string[]): TlsOptions {
  const ALPNProtocols = [...protocols]
  // a handshake that waits for it costs 3 % more
  if (tls.isSingle) return { ALPNProtocols }
  return { ALPNProtocols, SNICallback: identityChooser(tls) }
}
