import { type QuicClientConnection, SERVER_INITIATED, UNIDIRECTIONAL } from '../quic.ts'
import type { QuicNativeClient } from './binding.ts'
import { ClientStreams } from './client-streams.ts'
import { Connection, type ConnectionOwner } from './connection.ts'

/** A client has one connection, and the library gives it this number. */
const CLIENT_HANDLE = 0
/** What the library says of a stream for which the server gave no credit: quiche's error, behind words of its own. */
const NO_CREDIT = /\bStreamLimit$/

/** The connection of a client, which has a native thread to itself. */
export class ClientConnection extends Connection implements QuicClientConnection {
  readonly #native: QuicNativeClient
  readonly #streams = new ClientStreams()

  constructor(owner: ConnectionOwner, native: QuicNativeClient, peer: { address: string; port: number }) {
    super(owner, CLIENT_HANDLE, peer)
    this.#native = native
  }

  openStream(): number {
    return this.#native.openStream()
  }

  nextStream(): number {
    return this.#streams.take(this.owner.dependencies.clock())
  }

  ping(): void {
    this.#native.ping()
  }

  packetsReceived(): number {
    return this.#native.packetsReceived()
  }

  async destroy(): Promise<void> {
    await this.owner.close()
  }

  protected override streamEnded(stream: number): void {
    if (isOwn(stream)) this.#streams.ended()
  }

  protected override isUnopened(stream: number, reason: string): boolean {
    if (!isOwn(stream) || !NO_CREDIT.test(reason)) return false
    this.abandon(stream)
    if (this.#streams.refused(stream, this.owner.dependencies.clock())) this.handler?.unopened?.(stream)
    return true
  }
}

function isOwn(stream: number): boolean {
  return (stream & (UNIDIRECTIONAL | SERVER_INITIATED)) === 0
}
