import { DOQ_NO_ERROR } from '../../dns/failure.ts'
import { PREFIX_LENGTH } from '../../net/framing.ts'
import type { QuicClientConnection, QuicEngine, QuicHandler } from '../../net/quic.ts'
import { framed } from '../load/framed.ts'
import { Link, type LinkEvents, type Question } from '../load/link.ts'

/** `streams`: that the server may open, which it does not. */
const LIMITS = { idleMs: 60_000, streams: 0, window: 1_048_576 }

/** DNS over QUIC (RFC 9250). */
export class DoqLink extends Link implements QuicHandler {
  #connection: QuicClientConnection | null = null

  constructor({ engine, port }: { engine: QuicEngine; port: number }, events: LinkEvents) {
    super(events)
    const endpoint = { host: '127.0.0.1', port }
    void engine.dial({ endpoint, protocol: 'doq', serverName: 'localhost', roots: null, limits: LIMITS }, (connection) => {
      this.#connection = connection
      return this
    })
  }

  established(): void {
    this.ready()
  }

  received(stream: number, bytes: Uint8Array): void {
    // the rest of a message that came in pieces finds nobody waiting
    this.settle(stream, bytes.subarray(PREFIX_LENGTH))
  }

  reset(stream: number): void {
    this.settle(stream, null)
  }

  stalled(): void {}

  closed(): void {
    this.ended()
    void this.#connection?.destroy()
  }

  override async close(): Promise<void> {
    this.#connection?.close(DOQ_NO_ERROR)
    await this.#connection?.destroy()
  }

  protected override send({ wire }: Question): number {
    const connection = this.#connection
    const stream = connection === null ? -1 : openStream(connection)
    if (stream >= 0) connection?.send(stream, framed(wire), true)
    return stream
  }
}

/** -1 while the server gives no credit for another stream (RFC 9000 §4.6). Waits for the library's thread, some 0.2 ms. */
function openStream(connection: QuicClientConnection): number {
  try {
    return connection.openStream()
  } catch {
    return -1
  }
}
