import { FrameType } from './frames.ts'
import { putVarint } from './varint.ts'

/** The largest field section that we take, counted as in RFC 9114 §4.2.2. */
export const MAX_FIELD_SECTION_SIZE = 16_384

/**
 * How our control stream begins (RFC 9114 §6.2.1): its type, and SETTINGS with MAX_FIELD_SECTION_SIZE. The settings of QPACK stay
 * at 0: no dynamic table, so that no stream waits for another (RFC 9204 §5).
 */
export const CONTROL_PREAMBLE: Uint8Array = controlPreamble()

/** GOAWAY before the last requests are known: 2^62 - 4 (RFC 9114 §5.2). */
export const GOAWAY_SOON: Uint8Array = Uint8Array.of(FrameType.GOAWAY, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc)

/** GOAWAY with the first stream that will not be served (RFC 9114 §7.2.6). */
export function goaway(streamId: number): Uint8Array {
  const frame = new Uint8Array(10)
  const end = putVarint(frame, 2, streamId)
  frame[0] = FrameType.GOAWAY
  frame[1] = end - 2
  return frame.subarray(0, end)
}

function controlPreamble(): Uint8Array {
  const bytes = Uint8Array.of(0x00, FrameType.SETTINGS, 5, 0x06, 0, 0, 0, 0)
  putVarint(bytes, 4, MAX_FIELD_SECTION_SIZE)
  return bytes
}
