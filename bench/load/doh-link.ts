import { HEADER_LENGTH } from '../../dns/header.ts'
import { MEDIA_TYPE } from '../../transports/doh/request.ts'
import { FrameFlag, FrameType } from '../../transports/http2/codes.ts'
import { clientPreface, encodeFrame, type Frame, FrameCutter, fieldSection } from './http2-frames.ts'
import { Link, type LinkEvents, type Question } from './link.ts'
import { TlsPipe } from './tls-pipe.ts'

const NOTHING = new Uint8Array(0)

/** DNS over HTTPS (RFC 8484) with GET, on HTTP/2: as much of RFC 9113 as that needs, since node:http2 takes as long to ask as to answer. */
export class DohLink extends Link {
  readonly #authority: string
  readonly #pipe: TlsPipe
  readonly #cutter = new FrameCutter()
  #nextStream = 1

  constructor(port: number, events: LinkEvents) {
    super(events)
    this.#authority = `127.0.0.1:${port}`
    this.#pipe = new TlsPipe(
      { port, protocol: 'h2' },
      { connected: () => this.#onConnected(), received: (bytes) => this.#onBytes(bytes), closed: () => this.ended() },
    )
  }

  override close(): void {
    this.#pipe.close()
  }

  protected override send({ wire }: Question): number {
    const stream = this.#nextStream
    this.#nextStream += 2
    const path = `/dns-query?dns=${wire.toString('base64url')}`
    const payload = fieldSection({ authority: this.#authority, path, accept: MEDIA_TYPE })
    this.#pipe.write(encodeFrame({ type: FrameType.HEADERS, flags: FrameFlag.END_HEADERS | FrameFlag.END_STREAM, stream, payload }))
    return stream
  }

  #onConnected(): void {
    this.#pipe.write(clientPreface())
    this.ready()
  }

  #onBytes(bytes: Buffer): void {
    this.#cutter.push(bytes)
    for (let frame = this.#cutter.next(); frame !== null; frame = this.#cutter.next()) this.#onFrame(frame)
  }

  #onFrame({ type, flags, stream, payload }: Frame): void {
    switch (type) {
      case FrameType.DATA:
        // whatever the status, only an answer has a DNS header
        if (payload.length >= HEADER_LENGTH) this.settle(stream, payload)
        else if ((flags & FrameFlag.END_STREAM) !== 0) this.settle(stream, null)
        break
      case FrameType.HEADERS:
        if ((flags & FrameFlag.END_STREAM) !== 0) this.settle(stream, null)
        break
      case FrameType.RST_STREAM:
        this.settle(stream, null)
        break
      case FrameType.SETTINGS:
      case FrameType.PING:
        this.#acknowledge({ type, flags, stream, payload })
        break
      case FrameType.GOAWAY:
        this.retire()
        break
    }
  }

  /** RFC 9113 §6.5.3, §6.7: PING with its octets, SETTINGS without. */
  #acknowledge({ type, flags, stream, payload }: Frame): void {
    if ((flags & FrameFlag.ACK) !== 0) return
    const echo = type === FrameType.PING ? Buffer.from(payload) : NOTHING
    this.#pipe.write(encodeFrame({ type, flags: FrameFlag.ACK, stream, payload: echo }))
  }
}
