import { putU32 } from '../../dns/bytes.ts'
import { type ErrorCode, FRAME_HEADER_LENGTH, FrameFlag, FrameType } from './codes.ts'
import type { Output } from './output.ts'

/** RFC 9113 §6.7. */
export const PING_LENGTH = 8

/** RFC 9113 §6.4. */
export function putRstStream(output: Output, stream: number, code: ErrorCode): void {
  const at = open(output, { length: 4, type: FrameType.RST_STREAM, flags: 0, stream })
  putU32(output.bytes, at, code)
}

/** RFC 9113 §6.9; stream 0 is the connection. */
export function putWindowUpdate(output: Output, stream: number, increment: number): void {
  const at = open(output, { length: 4, type: FrameType.WINDOW_UPDATE, flags: 0, stream })
  putU32(output.bytes, at, increment)
}

/** RFC 9113 §6.5.3. */
export function putSettingsAck(output: Output): void {
  open(output, { length: 0, type: FrameType.SETTINGS, flags: FrameFlag.ACK, stream: 0 })
}

/** RFC 9113 §6.7; `payload` has PING_LENGTH octets. */
export function putPing(output: Output, flags: number, payload: Uint8Array): void {
  const at = open(output, { length: PING_LENGTH, type: FrameType.PING, flags, stream: 0 })
  output.bytes.set(payload, at)
}

/** RFC 9113 §6.8. */
export function putGoaway(output: Output, lastStream: number, code: ErrorCode): void {
  const at = open(output, { length: 8, type: FrameType.GOAWAY, flags: 0, stream: 0 })
  putU32(output.bytes, at, lastStream)
  putU32(output.bytes, at + 4, code)
}

/** Writes a frame header and makes room for its payload; the offset of the payload. */
function open(output: Output, header: { length: number; type: number; flags: number; stream: number }): number {
  const start = output.reserve(FRAME_HEADER_LENGTH + header.length)
  const at = output.putFrameHeader(start, header)
  output.length = at + header.length
  return at
}
