import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { type ConnectionOptions, connect, createServer, type SecureContext, type Server, type TLSSocket, type TlsOptions } from 'node:tls'
import type { ServerIdentities } from '../../net/tls.ts'

export interface TestServer extends AsyncDisposable {
  readonly port: number
  /** Sockets in the order of their handshakes. */
  readonly sockets: readonly TLSSocket[]
}

/** Answers every connection with "hello"; stays open until disposed of. */
export async function serveTls(options: TlsOptions, contextFor?: ServerIdentities['contextFor']): Promise<TestServer> {
  const sockets: TLSSocket[] = []
  const server = createServer(
    {
      ...options,
      ...(contextFor && {
        SNICallback(this: TLSSocket, name: string, done: (error: null, context?: SecureContext) => void) {
          done(
            null,
            contextFor(name, () => this.getSharedSigalgs()),
          )
        },
      }),
    },
    (socket) => {
      sockets.push(socket)
      socket.on('error', () => {})
      socket.write('hello')
    },
  )
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port, sockets, [Symbol.asyncDispose]: () => close(server, sockets) }
}

/** A verified connection on which the server has spoken; rejects as a client would refuse. The caller ends the socket. */
export async function connectTls(port: number, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect({ port, host: '127.0.0.1', ...options })
  await once(socket, 'data')
  return socket
}

/** The fingerprint of the certificate that the server showed. */
export async function shownTo(port: number, options: ConnectionOptions): Promise<string> {
  const socket = await connectTls(port, options)
  const { fingerprint256 } = socket.getPeerCertificate()
  socket.destroy()
  return fingerprint256
}

async function close(server: Server, sockets: readonly TLSSocket[]): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  for (const socket of sockets) socket.destroy()
  await closed
}
