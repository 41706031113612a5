import { connect, type TLSSocket } from 'node:tls'
import { type Flushable, Flusher } from '../../net/flusher.ts'

const flusher = new Flusher()

export interface PipeEvents {
  connected(): void
  received(bytes: Buffer): void
  closed(): void
}

/** A TLS connection to a gateway of this machine, whose certificate does not matter: one write a turn of the event loop. */
export class TlsPipe implements Flushable {
  readonly #socket: TLSSocket
  #output: Uint8Array[] = []

  constructor({ port, protocol }: { port: number; protocol: string }, events: PipeEvents) {
    const socket = connect({ host: '127.0.0.1', port, ALPNProtocols: [protocol], rejectUnauthorized: false })
    socket.setNoDelay(true)
    socket.on('secureConnect', () => events.connected())
    socket.on('data', (bytes: Buffer) => events.received(bytes))
    // 'close' follows
    socket.on('error', () => {})
    socket.on('close', () => events.closed())
    this.#socket = socket
  }

  write(bytes: Uint8Array): void {
    if (this.#output.push(bytes) === 1) flusher.schedule(this)
  }

  flush(): void {
    const [first, ...others] = this.#output
    this.#output = []
    if (first !== undefined) this.#socket.write(others.length === 0 ? first : Buffer.concat([first, ...others]))
  }

  close(): void {
    this.#socket.destroy()
  }
}
