import assert from 'node:assert/strict'
import test from 'node:test'
import {
  FRAME_BEGINS,
  FRAME_PAYLOAD,
  FrameReader,
  frameHeaderLength,
  NEED_MORE,
  putDataHeader,
  putHeadersHeader,
} from '../../../net/http3/frames.ts'
import { data, frame, hex } from './bytes.ts'

test('FrameReader hands payloads on as they come', () => {
  const reader = new FrameReader()
  const chunk = Buffer.concat([data('abc'), hex('0005'), Buffer.from('de')])
  reader.push(chunk)
  assert.equal(reader.next(), FRAME_BEGINS)
  assert.deepEqual([reader.type, reader.length], [0, 3])
  assert.equal(reader.next(), FRAME_PAYLOAD)
  assert.deepEqual([reader.left, Buffer.from(reader.payload).toString()], [0, 'abc'])
  assert.equal(reader.payload.buffer, chunk.buffer)
  assert.equal(reader.next(), FRAME_BEGINS)
  assert.equal(reader.next(), FRAME_PAYLOAD)
  assert.deepEqual([reader.left, Buffer.from(reader.payload).toString()], [3, 'de'])
  assert.equal(reader.next(), NEED_MORE)
  assert.equal(reader.next(), NEED_MORE)
  assert.equal(reader.payload.length, 0, 'it was borrowed')
})

test('FrameReader reports a frame without payload as any other', () => {
  const reader = new FrameReader()
  reader.push(frame(0x21))
  assert.deepEqual([reader.next(), reader.type, reader.length], [FRAME_BEGINS, 0x21, 0])
  assert.deepEqual([reader.next(), reader.left, reader.payload.length], [FRAME_PAYLOAD, 0, 0])
  assert.equal(reader.next(), NEED_MORE)
})

test('FrameReader knows whether a frame is incomplete after each octet', () => {
  const reader = new FrameReader()
  const between = Array.from(hex('4021 4001 00 0000'), (octet) => {
    reader.push(Buffer.of(octet))
    while (reader.next() !== NEED_MORE);
    return reader.betweenFrames
  })
  assert.deepEqual(between, [false, false, false, false, true, false, true])
})

test('FrameReader collects a payload, without copying it where it came in one piece', () => {
  const whole = new FrameReader()
  const chunk = frame(1, 'abc')
  whole.push(chunk)
  assert.deepEqual([whole.next(), whole.next()], [FRAME_BEGINS, FRAME_PAYLOAD])
  assert.equal(whole.collect()?.buffer, chunk.buffer)
  const pieces = new FrameReader()
  const text = 'abcdefghij'.repeat(200)
  const collected: string[] = []
  for (const octet of Buffer.concat([frame(1, text), frame(1, 'next'), frame(1)])) {
    pieces.push(Buffer.of(octet))
    for (let event = pieces.next(); event !== NEED_MORE; event = pieces.next()) {
      const payload = event === FRAME_PAYLOAD ? pieces.collect() : null
      if (payload !== null) collected.push(Buffer.from(payload).toString())
    }
  }
  assert.deepEqual(collected, [text, 'next', ''])
})

test('FrameReader takes no memory for a length that is only announced', () => {
  const readers = Array.from({ length: 2000 }, () => new FrameReader())
  const before = process.memoryUsage().arrayBuffers
  for (const reader of readers) {
    reader.push(hex('01 8000ffff 00'))
    assert.deepEqual([reader.next(), reader.next(), reader.collect()], [FRAME_BEGINS, FRAME_PAYLOAD, null])
  }
  assert.ok(process.memoryUsage().arrayBuffers - before < 4_000_000)
})

test('putHeadersHeader() and putDataHeader() write what FrameReader reads', () => {
  for (const length of [0, 63, 64, 16_383, 16_384, 70_000]) {
    const bytes = new Uint8Array(32).fill(0xff)
    const middle = putHeadersHeader(bytes, 0, length)
    assert.equal(middle, frameHeaderLength(length))
    const end = putDataHeader(bytes, middle, length)
    for (const [part, type] of [
      [bytes.subarray(0, middle), 1],
      [bytes.subarray(middle, end), 0],
    ] as const) {
      const reader = new FrameReader()
      reader.push(part)
      assert.deepEqual([reader.next(), reader.type, reader.length], [FRAME_BEGINS, type, length])
    }
  }
})
