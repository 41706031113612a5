import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/** RFC 8446 §5.1: octets of a TLS record; OpenSSL makes none smaller than this, which holds one padded answer (RFC 8467) and no second. */
const [LARGEST, SMALLEST] = [16_384, 512]
/** So many padded answers take as many records, or more. */
const FEW = 12

/**
 * Chooses how large the TLS records of a connection are. getdns (stubby) and systemd before 251 take one message each time the network has
 * something, and do not see what else was in the record before more comes. So a few answers that leave together, as for the names of a
 * page, are spread over records; those who ask for more at once read properly, and are spared the cost.
 */
export class RecordSize {
  readonly #socket: TLSSocket | null
  #size = LARGEST

  constructor(socket: Socket) {
    this.#socket = socket instanceof TLSSocket ? socket : null
  }

  /** Before so many messages are written together. */
  fit(messages: number): void {
    if (this.#socket === null || messages === 1 || this.#socket.destroyed) return
    const size = messages > FEW ? LARGEST : SMALLEST
    if (size === this.#size) return
    this.#size = size
    this.#socket.setMaxSendFragment(size)
  }
}
