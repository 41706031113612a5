import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { type TLSSocket, connect as tlsConnect } from 'node:tls'
import type { Endpoint } from '../../net/address.ts'
import { Deframer } from '../../net/framing.ts'
import type { TestGateway } from './gateway.ts'
import { frame } from './servers.ts'
import { until } from './until.ts'

/** A client that keeps its connection. */
export class Keeper {
  readonly socket: Socket
  readonly #deframer = new Deframer()
  readonly #messages: Buffer[] = []
  isClosed = false

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.#deframer.push(chunk)
      for (let message = this.#deframer.next(); message !== null; message = this.#deframer.next()) this.#messages.push(Buffer.from(message))
    })
    socket.on('error', () => {})
    socket.on('close', () => (this.isClosed = true))
  }

  async next(): Promise<Buffer> {
    await until(() => this.#messages.length > 0 || this.isClosed)
    const message = this.#messages.shift()
    assert.ok(message, 'expected an answer, the connection was closed')
    return message
  }

  async ask(message: Uint8Array): Promise<Buffer> {
    this.socket.write(frame(message))
    return this.next()
  }

  async closed(): Promise<void> {
    await until(() => this.isClosed)
  }
}

/** `localAddress`: where the client is. */
export async function dotAt(
  { ca, credentials }: Pick<TestGateway, 'ca' | 'credentials'>,
  { host, port }: Endpoint,
  localAddress = '127.0.0.1',
): Promise<Keeper> {
  const options = { host, port, localAddress, servername: 'localhost', ca, ...credentials, ALPNProtocols: ['dot'] }
  const socket = tlsConnect(options)
  await once(socket, 'secureConnect')
  return new Keeper(socket)
}

export async function isRefused({ host, port }: Endpoint): Promise<boolean> {
  const socket = tlsConnect({ host, port, rejectUnauthorized: false })
  const [error] = (await once(socket, 'error').catch((reason: unknown) => [reason])) as [NodeJS.ErrnoException]
  return error.code === 'ECONNREFUSED'
}

export async function occupied(t: TestContext): Promise<Endpoint> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => void server.close())
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

/** An address that nobody listens on, just now. */
export async function free(): Promise<Endpoint> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return { host: '127.0.0.1', port }
}

/** A connection of HTTP/1.1 that has had its answer. */
export async function http1At({ ca }: TestGateway, { host, port }: Endpoint): Promise<Keeper> {
  const socket = tlsConnect({ host, port, servername: 'localhost', ca, ALPNProtocols: ['http/1.1'] })
  socket.write('HEAD /elsewhere HTTP/1.1\r\nhost: localhost\r\n\r\n')
  await once(socket, 'data')
  return new Keeper(socket)
}

/** A session, to see the certificate of. */
export async function shown({ dot, ca }: TestGateway): Promise<TLSSocket> {
  const socket = tlsConnect({
    host: dot.host,
    port: dot.port,
    servername: 'localhost',
    ca,
    rejectUnauthorized: false,
    ALPNProtocols: ['dot'],
  })
  await once(socket, 'secureConnect')
  return socket
}
