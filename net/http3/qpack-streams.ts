import { connectionError, type Http3Error, Qpack } from './errors.ts'

/** RFC 9204 §4.3.1: Set Dynamic Table Capacity to 0. */
const SET_CAPACITY_0 = 0x20
/** RFC 9204 §4.4.2: first two bits of Stream Cancellation, whose number has a prefix of six bits. */
const STREAM_CANCELLATION = 0x40
const LONG_NUMBER = 0x3f
/** RFC 9204 §4.1.1: integers have up to 62 bits. */
const MAX_CONTINUATION = 9

const ENCODER_STREAM_ERROR = connectionError(Qpack.ENCODER_STREAM_ERROR)
const DECODER_STREAM_ERROR = connectionError(Qpack.DECODER_STREAM_ERROR)

/** The peer's encoder stream (RFC 9204 §4.3). */
export class EncoderStreamReader {
  push(bytes: Uint8Array): Http3Error | null {
    // RFC 9204 §3.2.2, 4.3.1: a table that may have no octets takes no other capacity and no entry
    return bytes.every((octet) => octet === SET_CAPACITY_0) ? null : ENCODER_STREAM_ERROR
  }
}

/** The peer's decoder stream (RFC 9204 §4.4). */
export class DecoderStreamReader {
  /** Octets that the number of a Stream Cancellation may still have. */
  #continuation = 0

  push(bytes: Uint8Array): Http3Error | null {
    for (const octet of bytes) {
      if (this.#continuation > 0) {
        if (octet < 0x80) this.#continuation = 0
        else if (--this.#continuation === 0) return DECODER_STREAM_ERROR
        continue
      }
      // RFC 9204 §4.4.1, 4.4.3: nothing was inserted or referred to that could be acknowledged
      if ((octet & 0xc0) !== STREAM_CANCELLATION) return DECODER_STREAM_ERROR
      if ((octet & LONG_NUMBER) === LONG_NUMBER) this.#continuation = MAX_CONTINUATION
    }
    return null
  }
}
