import type { Field } from '../../../net/fields.ts'
import { ErrorCode, FrameFlag, FrameType } from '../../../transports/http2/codes.ts'
import { maxFieldsLength, putFields } from '../../../transports/http2/hpack/encoder.ts'

/** Frames as a client sends them (RFC 9113 §4.1, 6), well-formed or not. */
export function frame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(9)
  header.writeUIntBE(payload.length, 0, 3)
  header[3] = type
  header[4] = flags
  header.writeUInt32BE(stream, 5)
  return Buffer.concat([header, payload])
}

export const SETTINGS = frame(FrameType.SETTINGS, 0, 0)
export const SETTINGS_ACK = frame(FrameType.SETTINGS, FrameFlag.ACK, 0)
export const GET: readonly Field[] = [
  [':method', 'GET'],
  [':scheme', 'https'],
  [':authority', 'dns.example'],
  [':path', '/'],
]
export const POST: readonly Field[] = [[':method', 'POST'], ...GET.slice(1)]
const END = FrameFlag.END_STREAM

export function block(fields: readonly Field[]): Buffer {
  const bytes = Buffer.alloc(maxFieldsLength(fields))
  return bytes.subarray(0, putFields(bytes, 0, fields))
}

/** A whole request without content, or the header section of one with it. */
export function headers(stream: number, fields: readonly Field[], flags: number = END): Buffer {
  return frame(FrameType.HEADERS, flags | FrameFlag.END_HEADERS, stream, block(fields))
}

export function data(stream: number, content: string | Uint8Array, flags: number = 0): Buffer {
  return frame(FrameType.DATA, flags, stream, Buffer.from(content as string))
}

export function settings(...entries: readonly (readonly [identifier: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(6 * entries.length)
  for (const [i, [identifier, value]] of entries.entries()) {
    payload.writeUInt16BE(identifier, 6 * i)
    payload.writeUInt32BE(value, 6 * i + 2)
  }
  return frame(FrameType.SETTINGS, 0, 0, payload)
}

export function windowUpdate(stream: number, increment: number): Buffer {
  return frame(FrameType.WINDOW_UPDATE, 0, stream, u32(increment))
}

export function rst(stream: number, code: number = ErrorCode.CANCEL): Buffer {
  return frame(FrameType.RST_STREAM, 0, stream, u32(code))
}

export function ping(payload: string, flags: number = 0): Buffer {
  return frame(FrameType.PING, flags, 0, Buffer.from(payload))
}

export function goaway(lastStream: number, code: number): Buffer {
  return frame(FrameType.GOAWAY, 0, 0, Buffer.concat([u32(lastStream), u32(code)]))
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
