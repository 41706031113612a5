import { putU16 } from './bytes.ts'
import { HEADER_LENGTH } from './header.ts'
import { Class, Type } from './types.ts'

/** Questions that nobody but the gateway asks, as a parked query has them: a header without content, and the question. */

/** A name of two labels: the nonce in hexadecimal, and the label that is this gateway's. */
export function loopQuestion(nonce: number, loopLabel: string): Uint8Array {
  return questionOf([nonce.toString(16).padStart(8, '0'), loopLabel], Type.TXT)
}

export function questionOf(labels: readonly string[], type: number): Uint8Array {
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
