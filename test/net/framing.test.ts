import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { Deframer } from '../../net/framing.ts'

function frame(message: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message])
}

test('Deframer cuts the same messages out of a stream however it is chunked', () => {
  const messages = fc.array(fc.uint8Array({ maxLength: 2000 }), { maxLength: 20 })
  fc.assert(
    fc.property(messages, fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 50 }), (wanted, sizes) => {
      const stream = Buffer.concat(wanted.map(frame))
      const deframer = new Deframer()
      const seen: Buffer[] = []
      for (let at = 0, i = 0; at < stream.length; i++) {
        const size = sizes[i % sizes.length] ?? 1
        deframer.push(stream.subarray(at, at + size))
        at += size
        for (let message = deframer.next(); message !== null; message = deframer.next()) seen.push(Buffer.from(message))
      }
      assert.deepEqual(
        seen,
        wanted.map((message) => Buffer.from(message)),
      )
    }),
    { numRuns: 200 },
  )
})

test('Deframer keeps what is left when more arrives before it was read', () => {
  const deframer = new Deframer()
  deframer.push(Buffer.concat([frame(Buffer.from('a')), frame(Buffer.from('bb'))]))
  assert.equal(Buffer.from(deframer.next() ?? []).toString(), 'a')
  deframer.push(frame(Buffer.from('ccc')))
  assert.equal(Buffer.from(deframer.next() ?? []).toString(), 'bb')
  assert.equal(Buffer.from(deframer.next() ?? []).toString(), 'ccc')
  assert.equal(deframer.next(), null)
})

test('Deframer takes no memory for a length that is only announced', () => {
  const deframers = Array.from({ length: 10_000 }, () => new Deframer())
  const before = process.memoryUsage().arrayBuffers
  for (const deframer of deframers) {
    deframer.push(Buffer.from([0xff, 0xff, 0]))
    assert.equal(deframer.next(), null)
  }
  assert.ok(process.memoryUsage().arrayBuffers - before < 20_000_000)
})
