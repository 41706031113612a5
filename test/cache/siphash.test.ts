import assert from 'node:assert/strict'
import test from 'node:test'
import { SipHash } from '../../gateway/cache/siphash.ts'

/** Linux lib/tests/siphash_kunit.c, HalfSipHash-1-3: vector n is of the octets 0 to n-1 under the key 00 01 .. 07. */
const VECTORS = [0x5814c896, 0xe7e864ca, 0xbc4b0e30, 0x01539939, 0x7e059ea6, 0x88e3d89b, 0xa0080b65, 0x9d38d9d6, 0x577999b1, 0xc839caed]

test('the hash is HalfSipHash-1-3', () => {
  const hash = new SipHash(0x0302_0100, 0x0706_0504)
  for (const [length, vector] of VECTORS.entries()) {
    const octets = new Uint8Array(12)
    for (let i = 0; i < length; i++) octets[i] = i
    hash.update(new Int32Array(octets.buffer), 0, length)
    assert.equal((hash.low >>> 0).toString(16), vector.toString(16), `${length} octets`)
  }
})

test('both halves depend on every octet and on the key', () => {
  const halves = new Set<number>()
  for (let key = 0; key < 2; key++) {
    const hash = new SipHash(key, 7)
    for (let at = 0; at < 16; at++) {
      const octets = new Uint8Array(16)
      octets[at] = 1
      hash.update(new Int32Array(octets.buffer), 0, 16)
      halves.add(hash.low).add(hash.high)
    }
  }
  assert.equal(halves.size, 2 * 2 * 16)
})
