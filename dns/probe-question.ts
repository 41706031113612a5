import { putU16 } from './bytes.ts'
import { HEADER_LENGTH } from './header.ts'
import { Class, Type } from './types.ts'

/** Every resolver knows it, at least after the first time, and no client's secret is in it. */
export const ROOT_QUESTION = questionOf([], Type.NS)

/** A name of two labels: the nonce in hexadecimal, and the label that is this gateway's. A server from which it comes back to us leads to us. */
export function loopQuestion(nonce: number, loopLabel: string): Uint8Array {
  return questionOf([nonce.toString(16).padStart(8, '0'), loopLabel], Type.TXT)
}

/** A message with nothing but a question; its header is empty. */
function questionOf(labels: readonly string[], type: number): Uint8Array {
  const name = Buffer.concat([
    ...labels.map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, 'latin1')),
    Buffer.of(0),
  ])
  const wire = new Uint8Array(HEADER_LENGTH + name.length + 4)
  wire.set(name, HEADER_LENGTH)
  putU16(wire, wire.length - 4, type)
  putU16(wire, wire.length - 2, Class.IN)
  return wire
}
