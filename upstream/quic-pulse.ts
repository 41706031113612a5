import type { QuicClientConnection } from '../net/quic.ts'

/** Without an answer for so long the server is asked whether it is there; without any packet from it for as long again it is not. */
const SILENT_MS = 500

/**
 * Notices that a server has lost the connection: one that restarts does not say so, and QUIC itself waits for its idle timeout. A
 * server that is only slow acknowledges.
 */
export class QuicPulse {
  #probedAt = Number.POSITIVE_INFINITY
  #packets = 0

  /** To be asked while answers are owed; `since`: the last one came, or the oldest open question was sent. */
  isGone(now: number, since: number, connection: QuicClientConnection): boolean {
    if (now - since < SILENT_MS) {
      this.#probedAt = Number.POSITIVE_INFINITY
      return false
    }
    if (this.#probedAt === Number.POSITIVE_INFINITY) {
      this.#probedAt = now
      this.#packets = connection.packetsReceived()
      connection.ping()
      return false
    }
    if (now - this.#probedAt < SILENT_MS) return false
    const hasCome = connection.packetsReceived() !== this.#packets
    // there, and slow: it is probed again
    if (hasCome) this.#probedAt = Number.POSITIVE_INFINITY
    return !hasCome
  }
}
