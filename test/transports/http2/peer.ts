import assert from 'node:assert/strict'
import type { Failure } from '../../../dns/failure.ts'
import type { Field } from '../../../net/fields.ts'
import { ErrorCode, FrameFlag, FrameType } from '../../../transports/http2/codes.ts'
import type { FieldLine } from '../../../transports/http2/field-line.ts'
import type { SessionHost } from '../../../transports/http2/host.ts'
import { DECODED, HpackDecoder } from '../../../transports/http2/hpack/decoder.ts'
import { HTTP2_LIMITS, type Http2Limits } from '../../../transports/http2/limits.ts'
import type { RequestFields } from '../../../transports/http2/request-fields.ts'
import { Http2Session, PREFACE } from '../../../transports/http2/session.ts'
import type { Http2Stream, StreamReceiver } from '../../../transports/http2/stream.ts'
import { SETTINGS, SETTINGS_ACK } from './frames.ts'

const TYPES = names(FrameType)
const CODES = names(ErrorCode)

/** What a session is made with, where a test wants it otherwise. */
export interface PeerOptions {
  readonly limits?: Partial<Http2Limits>
  readonly maxStreams?: number
  readonly connects?: boolean
  /** Octets in which everything is handed over; all at once without. */
  readonly pieces?: number
}

/** What one stream has heard. */
export class Hearer implements StreamReceiver {
  readonly request: string
  readonly stream: Http2Stream
  readonly #log: string[]
  readonly #answers: boolean
  content = ''

  constructor(stream: Http2Stream, fields: RequestFields, log: string[]) {
    this.stream = stream
    this.request = `${fields.method} ${fields.path}`
    this.#log = log
    this.#answers = fields.path === '/'
    log.push(`${this.request} on ${stream.id}`)
  }

  onData(chunk: Uint8Array, _isLast: boolean): void {
    this.content += Buffer.from(chunk).toString('latin1')
  }

  onEnd(trailers: readonly FieldLine[]): void {
    this.#log.push(
      `end of ${this.stream.id}: ${this.content.length} octets${trailers.map(({ name, value }) => `, ${name}=${value}`).join('')}`,
    )
    if (this.#answers) this.answer(this.content)
  }

  onLate(): void {
    this.#log.push(`${this.stream.id} is late`)
  }

  onWritable(): void {
    this.#log.push(`${this.stream.id} is writable`)
  }

  onAborted(): void {
    this.#log.push(`${this.stream.id} is aborted`)
  }

  /** A whole response. */
  answer(content: string): void {
    this.stream.respond({ maxLength: 1, write: (bytes, at) => bytes.writeUInt8(0x88, at) }, Buffer.from(content, 'latin1'))
  }

  begin(...fields: readonly Field[]): void {
    this.stream.sendHeaders([[':status', '200'], ...fields], false)
  }
}

/** The client's side of a session, without a network: sends frames, and says in words what comes back. */
export class Peer implements SessionHost {
  now = 1000
  mayAccept = true
  readonly session: Http2Session
  /** What the session's host was told. */
  readonly log: string[] = []
  /** Requests by their stream. "/" is answered with its own content when it has ended, others by the test. */
  readonly hearers = new Map<number, Hearer>()
  watched = 0
  readonly #pieces: number
  readonly #decoder = new HpackDecoder(1e6)

  constructor({ limits, maxStreams = 100, connects = false, pieces = Number.POSITIVE_INFINITY }: PeerOptions = {}) {
    this.#pieces = pieces
    this.session = new Http2Session(this, { limits: { ...HTTP2_LIMITS, ...limits }, clock: () => this.now, maxStreams, connects })
  }

  /** One whose handshake is over. */
  static ready(options: PeerOptions = {}): Peer {
    const peer = new Peer(options)
    peer.send(PREFACE, SETTINGS, SETTINGS_ACK)
    peer.received()
    return peer
  }

  request(stream: Http2Stream, fields: RequestFields): void {
    const hearer = new Hearer(stream, fields, this.log)
    this.hearers.set(stream.id, hearer)
    stream.receiver = hearer
    if (stream.remoteEnded) hearer.onEnd([])
  }

  requestTooLarge(stream: Http2Stream): void {
    stream.sendHeaders([[':status', '431']], true)
  }

  outputReady(): void {}

  watch(): void {
    this.watched++
  }

  dropped(failure: Failure): void {
    this.log.push(`dropped: ${failure.code}`)
  }

  /** Hands octets over, which are overwritten afterwards: they are only borrowed. */
  send(...frames: readonly Uint8Array[]): void {
    const all = Buffer.concat(frames)
    for (let at = 0; at < all.length; at += this.#pieces) {
      const piece = Buffer.from(all.subarray(at, Math.min(all.length, at + this.#pieces)))
      this.session.receive(piece)
      piece.fill(0xaa)
    }
  }

  hearer(stream: number): Hearer {
    const hearer = this.hearers.get(stream)
    assert.ok(hearer, `there is no request on ${stream}`)
    return hearer
  }

  /** What has been sent since the last call, a text for each frame. */
  received(): readonly string[] {
    this.session.pump()
    const bytes = this.session.output.take()
    this.session.outputTaken(false)
    const texts: string[] = []
    for (let at = 0; at < bytes.length; ) {
      const length = bytes.readUIntBE(at, 3)
      texts.push(
        this.#describe(
          bytes.readUInt8(at + 3),
          bytes.readUInt8(at + 4),
          bytes.readUInt32BE(at + 5),
          bytes.subarray(at + 9, at + 9 + length),
        ),
      )
      at += 9 + length
      assert.ok(at <= bytes.length, 'a frame is incomplete')
    }
    return texts
  }

  /** What is held for the client is not sent: the connection takes nothing. */
  block(): void {
    this.session.outputTaken(true)
  }

  #describe(type: number, flags: number, stream: number, payload: Buffer): string {
    const end = (flags & FrameFlag.END_STREAM) !== 0 ? ' END_STREAM' : ''
    switch (type) {
      case FrameType.DATA:
        return `DATA ${stream} ${payload.length > 40 ? `${payload.length} octets` : JSON.stringify(payload.toString('latin1'))}${end}`
      case FrameType.HEADERS:
        return `HEADERS ${stream} ${this.#fieldsOf(payload)}${end}${(flags & FrameFlag.END_HEADERS) === 0 ? ' …' : ''}`
      case FrameType.RST_STREAM:
        return `RST_STREAM ${stream} ${CODES.get(payload.readUInt32BE(0))}`
      case FrameType.SETTINGS:
        return (flags & FrameFlag.ACK) !== 0 ? 'SETTINGS ACK' : `SETTINGS ${payload.toString('hex')}`
      case FrameType.PING:
        return `PING${(flags & FrameFlag.ACK) !== 0 ? ' ACK' : ''} ${payload.toString('latin1')}`
      case FrameType.GOAWAY:
        return `GOAWAY ${payload.readUInt32BE(0)} ${CODES.get(payload.readUInt32BE(4))}`
      case FrameType.WINDOW_UPDATE:
        return `WINDOW_UPDATE ${stream} ${payload.readUInt32BE(0)}`
      default:
        return `${TYPES.get(type)} ${stream} ${payload.length} octets`
    }
  }

  #fieldsOf(block: Buffer): string {
    const lines: FieldLine[] = []
    if (this.#decoder.decode(block, 0, block.length, lines) !== DECODED) return `${block.length} octets`
    return lines.map(({ name, value }) => `${name}=${value}`).join(' ')
  }
}

function names(table: Readonly<Record<string, number>>): ReadonlyMap<number, string> {
  return new Map(Object.entries(table).map(([name, value]) => [value, name]))
}
