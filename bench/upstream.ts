import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { type Socket as Connection, createServer, type Server } from 'node:net'
import { HEADER_LENGTH } from '../dns/header.ts'
import { skipPlainName } from '../dns/name.ts'
import { Deframer } from '../net/framing.ts'
import { framed } from './load/framed.ts'
import { responseTo } from './traffic.ts'

/** A server that knows two addresses of every name, over UDP and over TCP, which dnsdist asks for what it was asked over streams. */
export class Upstream {
  readonly #socket: Socket
  readonly #server: Server
  readonly #connections = new Set<Connection>()

  private constructor(socket: Socket, server: Server) {
    this.#socket = socket
    this.#server = server
    socket.on('message', (query, { port, address }) => {
      const response = respond(query)
      if (response !== null) socket.send(response, port, address)
    })
    server.on('connection', (connection) => this.#serve(connection))
  }

  static async start(): Promise<Upstream> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 ** 2 })
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    const server = createServer({ noDelay: true }).listen(socket.address().port, '127.0.0.1')
    await once(server, 'listening')
    return new Upstream(socket, server)
  }

  get url(): string {
    return `udp://127.0.0.1:${this.#socket.address().port}`
  }

  async stop(): Promise<void> {
    const closed = Promise.all([once(this.#socket, 'close'), once(this.#server, 'close')])
    this.#socket.close()
    this.#server.close()
    for (const connection of this.#connections) connection.destroy()
    await closed
  }

  #serve(connection: Connection): void {
    const deframer = new Deframer()
    this.#connections.add(connection)
    connection.on('close', () => this.#connections.delete(connection))
    // who asks may be ended at any time
    connection.on('error', () => {})
    connection.on('data', (chunk: Buffer) => {
      deframer.push(chunk)
      for (let query = deframer.next(); query !== null; query = deframer.next()) {
        const response = respond(query)
        if (response !== null) connection.write(framed(response))
      }
    })
  }
}

/** Two addresses of the name that is asked for; null: it is no question. */
export function respond(query: Uint8Array): Buffer | null {
  const nameEnd = skipPlainName(query, HEADER_LENGTH, query.length)
  return nameEnd > 0 && nameEnd + 4 <= query.length ? responseTo(query, nameEnd + 4) : null
}
