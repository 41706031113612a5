import type { Field } from '../../../net/fields.ts'
import { encodeFieldSection } from '../../../net/http3/qpack-encode.ts'
import { putVarint } from '../../../net/http3/varint.ts'

export function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex')
}

export function varint(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  return bytes.subarray(0, putVarint(bytes, 0, value))
}

export function frame(type: number, payload: Uint8Array | string = ''): Buffer {
  const bytes = Buffer.from(payload as Uint8Array)
  return Buffer.concat([varint(type), varint(bytes.length), bytes])
}

export function headers(...fields: Field[]): Buffer {
  return frame(0x01, encodeFieldSection(fields))
}

export function data(text: string): Buffer {
  return frame(0x00, text)
}
