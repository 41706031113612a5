/**
 * Octets that may be sent within one round trip. The library sends without regard for the peer's window for the whole
 * connection (it multiplies what is left of it by 20, `set_send_capacity_factor`), and the peer then ends the connection with
 * FLOW_CONTROL_ERROR. Its window is not told to us, but it is opened again a round trip after it was used: with this much in
 * each, windows from 64 KiB on are kept: half of one may be used and not yet opened again while this much is on its way.
 */
const OCTETS_PER_ROUND_TRIP = 30_720
/** The library's round-trip time is asked for this often, because asking waits for its thread. */
const RTT_VALID_MS = 1000
/** A round trip never counts for less: the peer's program, not its QUIC, opens the window again. */
const MIN_RTT_MS = 5
/** Before it was ever asked. */
const UNKNOWN_RTT_MS = 333

/** Spreads what is sent on one connection over round trips. */
export class Pacer {
  #sent = 0
  #since = Number.NEGATIVE_INFINITY
  #rttMs = UNKNOWN_RTT_MS
  #rttAt = Number.NEGATIVE_INFINITY

  /** When more may be sent, milliseconds of the clock. */
  get nextAt(): number {
    return this.#since + this.#rttMs
  }

  /** How many of `octets` may be sent now. */
  allow(octets: number, now: number, askRtt: () => number): number {
    this.#renew(now)
    if (this.#sent + octets > OCTETS_PER_ROUND_TRIP && now - this.#rttAt >= RTT_VALID_MS) {
      this.#rttMs = Math.max(askRtt(), MIN_RTT_MS)
      this.#rttAt = now
      this.#renew(now)
    }
    return Math.min(octets, OCTETS_PER_ROUND_TRIP - this.#sent)
  }

  sent(octets: number): void {
    this.#sent += octets
  }

  #renew(now: number): void {
    if (now < this.nextAt) return
    this.#since = now
    this.#sent = 0
  }
}
