import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { putVarint, VarintReader, varintSize } from '../../../net/http3/varint.ts'

/** RFC 9000 appendix A.1. */
const EXAMPLES: readonly [hex: string, value: number | bigint][] = [
  ['c2197c5eff14e88c', 151_288_809_941_952_652n],
  ['9d7f3e7d', 494_878_333],
  ['7bbd', 15_293],
  ['25', 37],
  ['4025', 37],
]

function read(bytes: Uint8Array): number | null {
  const reader = new VarintReader()
  for (let at = 0; at < bytes.length; at++) {
    assert.equal(reader.complete, false)
    reader.push(bytes.subarray(at, at + 1), 0)
  }
  return reader.complete ? reader.take() : null
}

test('VarintReader reads the examples of RFC 9000 appendix A.1 octet by octet', () => {
  for (const [hex, value] of EXAMPLES) assert.equal(read(Buffer.from(hex, 'hex')), Number(value))
})

test('VarintReader says where the integer ends, and whether it has begun', () => {
  const reader = new VarintReader()
  assert.equal(reader.begun, false)
  assert.equal(reader.push(Buffer.from('ff7bbdff', 'hex'), 1), 3)
  assert.equal(reader.take(), 15_293)
  assert.equal(reader.push(Buffer.from('9d7f', 'hex'), 0), 2)
  assert.deepEqual([reader.begun, reader.complete], [true, false])
})

test('putVarint() writes what VarintReader reads, in the fewest octets', () => {
  const edges = [0, 63, 64, 16_383, 16_384, 2 ** 30 - 1, 2 ** 30, 2 ** 32, Number.MAX_SAFE_INTEGER].map((value) => fc.constant(value))
  fc.assert(
    fc.property(fc.oneof(fc.maxSafeNat(), fc.nat(), ...edges), (value) => {
      const bytes = new Uint8Array(9)
      const end = putVarint(bytes, 1, value)
      assert.equal(end - 1, varintSize(value))
      assert.equal(
        varintSize(value),
        [6, 14, 30].filter((bits) => value >= 2 ** bits).reduce((size) => 2 * size, 1),
      )
      assert.equal(read(bytes.subarray(1, end)), value)
    }),
  )
})
