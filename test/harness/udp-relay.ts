import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import type { Endpoint } from '../../net/address.ts'

/** Passes datagrams between clients and one server, from a socket of its own for each client; where they go can be changed. */
export class UdpRelay implements AsyncDisposable {
  /** Null: nowhere. */
  target: Endpoint | null
  /** Ports of the clients. */
  readonly clients = new Map<number, Socket>()
  readonly #front: Socket

  private constructor(front: Socket, target: Endpoint | null) {
    this.#front = front
    this.target = target
    front.on('message', (bytes, { port }) => {
      const back = this.clients.get(port) ?? this.#accept(port)
      if (this.target !== null) back.send(bytes, this.target.port, this.target.host)
    })
  }

  static async start(target: Endpoint | null): Promise<UdpRelay> {
    const front = createSocket('udp4')
    front.bind(0, '127.0.0.1')
    await once(front, 'listening')
    return new UdpRelay(front, target)
  }

  get endpoint(): Endpoint {
    return { host: '127.0.0.1', port: this.#front.address().port }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of [this.#front, ...this.clients.values()]) socket.close()
  }

  #accept(port: number): Socket {
    const back = createSocket('udp4')
    back.on('error', () => {})
    // what a former server still says is lost, as it is when its process ends
    back.on('message', (bytes, from) => {
      if (from.port === this.target?.port) this.#front.send(bytes, port, '127.0.0.1')
    })
    this.clients.set(port, back)
    return back
  }
}
