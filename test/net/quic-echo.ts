import type { QuicAcceptor, QuicConnection, QuicHandler } from '../../net/quic.ts'

/** Sends back what came, once the client has finished; notes everything. */
export class EchoServer implements QuicAcceptor {
  readonly connections: EchoConnection[] = []
  reply: (received: Buffer) => Buffer = (received) => received

  arrived(connection: QuicConnection): QuicHandler {
    const handler = new EchoConnection(connection, this)
    this.connections.push(handler)
    return handler
  }
}

export class EchoConnection implements QuicHandler {
  readonly quic: QuicConnection
  readonly resets: number[] = []
  readonly codes: number[] = []
  readonly stalls: number[] = []
  readonly #server: EchoServer
  readonly begun = new Map<number, Buffer>()
  isEstablished = false
  isClosed = false

  constructor(quic: QuicConnection, server: EchoServer) {
    this.quic = quic
    this.#server = server
  }

  established(): void {
    this.isEstablished = true
  }

  received(stream: number, bytes: Uint8Array, fin: boolean): void {
    const received = Buffer.concat([this.begun.get(stream) ?? Buffer.alloc(0), bytes])
    this.begun.set(stream, received)
    if (fin) this.quic.send(stream, this.#server.reply(received), true)
  }

  reset(stream: number, code: number): void {
    this.resets.push(stream)
    this.codes.push(code)
  }

  stalled(stream: number): void {
    this.stalls.push(stream)
    this.quic.reset(stream, 4)
  }

  closed(): void {
    this.isClosed = true
  }
}
