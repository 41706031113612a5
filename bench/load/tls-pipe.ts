import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { type Flushable, Flusher } from '../../net/flusher.ts'

const flusher = new Flusher()
/** One for all, so that no server has a cheaper one than another. */
export const CIPHER = 'TLS_AES_128_GCM_SHA256'

export interface PipeTarget {
  readonly port: number
  /** ALPN. */
  readonly protocol: string
  /** From where; all of 127.0.0.0/8 is this machine. */
  readonly localAddress?: string
}

export interface PipeEvents {
  connected(): void
  received(bytes: Buffer): void
  closed(): void
}

/** A TLS connection to a gateway of this machine, whose certificate does not matter: one write a turn of the event loop. */
export class TlsPipe implements Flushable {
  readonly #socket: TLSSocket
  #output: Uint8Array[] = []

  constructor({ port, protocol, localAddress = '127.0.0.1' }: PipeTarget, events: PipeEvents) {
    const options: ConnectionOptions & { readonly localAddress: string } = {
      host: '127.0.0.1',
      port,
      localAddress,
      ALPNProtocols: [protocol],
      minVersion: 'TLSv1.3',
      ciphers: CIPHER,
      rejectUnauthorized: false,
    }
    const socket = connect(options)
    socket.setNoDelay(true)
    socket.on('secureConnect', () => events.connected())
    socket.on('data', (bytes: Buffer) => events.received(bytes))
    // 'close' follows
    socket.on('error', () => {})
    socket.on('close', () => events.closed())
    this.#socket = socket
  }

  /** Octets that wait for the server to read. */
  get waiting(): number {
    return this.#socket.writableLength
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
