import { putU16 } from '../../dns/bytes.ts'
import { PREFIX_LENGTH } from '../../net/framing.ts'

/** A copy behind its length (RFC 1035 §4.2.2). */
export function framed(wire: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(PREFIX_LENGTH + wire.length)
  putU16(frame, 0, wire.length)
  wire.copy(frame, PREFIX_LENGTH)
  return frame
}
