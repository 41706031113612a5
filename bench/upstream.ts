import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { HEADER_LENGTH } from '../dns/header.ts'
import { skipPlainName } from '../dns/name.ts'
import { responseTo } from './traffic.ts'

/** A server that knows two addresses of every name. */
export class Upstream {
  readonly #socket: Socket

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('message', (query, { port, address }) => {
      const nameEnd = skipPlainName(query, HEADER_LENGTH, query.length)
      if (nameEnd > 0 && nameEnd + 4 <= query.length) socket.send(responseTo(query, nameEnd + 4), port, address)
    })
  }

  static async start(): Promise<Upstream> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 ** 2 })
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    return new Upstream(socket)
  }

  get url(): string {
    return `udp://127.0.0.1:${this.#socket.address().port}`
  }

  async stop(): Promise<void> {
    const closed = once(this.#socket, 'close')
    this.#socket.close()
    await closed
  }
}
