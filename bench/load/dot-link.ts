import { putU16, u16 } from '../../dns/bytes.ts'
import { HEADER_LENGTH } from '../../dns/header.ts'
import { Deframer, PREFIX_LENGTH } from '../../net/framing.ts'
import { framed } from './framed.ts'
import { Link, type LinkEvents, type Question } from './link.ts'
import { TlsPipe } from './tls-pipe.ts'

/** DNS over TLS (RFC 7858). */
export class DotLink extends Link {
  readonly #pipe: TlsPipe
  readonly #deframer = new Deframer()

  constructor(port: number, events: LinkEvents) {
    super(events)
    this.#pipe = new TlsPipe(
      { port, protocol: 'dot' },
      { connected: () => this.ready(), received: (bytes) => this.#onBytes(bytes), closed: () => this.ended() },
    )
  }

  override close(): void {
    this.#pipe.close()
  }

  protected override send({ index, wire }: Question): number {
    // far fewer are open at a time than there are ids
    const id = index & 0xffff
    const frame = framed(wire)
    putU16(frame, PREFIX_LENGTH, id)
    this.#pipe.write(frame)
    return id
  }

  #onBytes(bytes: Buffer): void {
    this.#deframer.push(bytes)
    for (let message = this.#deframer.next(); message !== null; message = this.#deframer.next()) {
      if (message.length >= HEADER_LENGTH) this.settle(u16(message, 0), message)
    }
  }
}
