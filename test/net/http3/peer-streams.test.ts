import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import type { PeerRole } from '../../../net/http3/control-reader.ts'
import { H3, type Http3Error, Qpack } from '../../../net/http3/errors.ts'
import { CONTROL_PREAMBLE, GOAWAY_SOON, goaway } from '../../../net/http3/own-control.ts'
import { PeerStreams } from '../../../net/http3/peer-streams.ts'
import { frame, hex, varint } from './bytes.ts'

const CONTROL = hex('00 0400')
const NOTHING = new Uint8Array(0)

const connection = (code: number): Http3Error => ({ code, scope: 'connection' })
const ABORT_READING: Http3Error = { code: H3.STREAM_CREATION_ERROR, scope: 'stream' }

/** The first error of a stream that comes whole, which is the same octet by octet. */
function errorOf(peer: PeerRole, ...parts: Uint8Array[]): Http3Error | null {
  const bytes = Buffer.concat(parts)
  const whole = new PeerStreams(peer).push(2, bytes, false)
  const streams = new PeerStreams(peer)
  let error: Http3Error | null = null
  for (let at = 0; at < bytes.length && error === null; at++) error = streams.push(2, bytes.subarray(at, at + 1), false)
  assert.deepEqual(error, whole)
  return whole
}

test('PeerStreams takes one of each critical stream', () => {
  for (const type of ['00 0400', '02', '03']) {
    const streams = new PeerStreams('client')
    for (const [id, first] of ['00 0400', '02', '03'].entries()) assert.equal(streams.push(4 * id + 2, hex(first), false), null)
    assert.deepEqual(streams.push(14, hex(type), false), connection(H3.STREAM_CREATION_ERROR), type)
  }
})

test('PeerStreams refuses the end of a critical stream', () => {
  for (const bytes of ['00 0400', '02', '03']) {
    const closed = new PeerStreams('server')
    assert.equal(closed.push(3, hex(bytes), false), null)
    assert.deepEqual(closed.push(3, NOTHING, true), connection(H3.CLOSED_CRITICAL_STREAM))
    assert.deepEqual(new PeerStreams('server').push(3, hex(bytes), true), connection(H3.CLOSED_CRITICAL_STREAM))
    const reset = new PeerStreams('server')
    reset.push(3, hex(bytes), false)
    assert.deepEqual(reset.reset(3), connection(H3.CLOSED_CRITICAL_STREAM))
  }
})

test('PeerStreams reports what is wrong rather than that the stream ends', () => {
  assert.deepEqual(new PeerStreams('client').push(2, hex('00 0701 00'), true), connection(H3.MISSING_SETTINGS))
})

test('PeerStreams has reading of unknown streams aborted, and disregards what still comes', () => {
  const streams = new PeerStreams('client')
  assert.equal(streams.push(2, hex('40'), false), null)
  assert.deepEqual(streams.push(2, hex('21 00'), false), ABORT_READING)
  assert.equal(streams.push(2, hex('01'), false), null)
  assert.equal(streams.push(2, NOTHING, true), null)
  assert.equal(streams.push(6, hex('21 00'), true), null)
  assert.deepEqual(streams.push(10, hex('21'), false), ABORT_READING)
  assert.equal(streams.reset(10), null)
  // as far as anyone can tell
  assert.equal(streams.push(14, CONTROL, false), null)
})

test('PeerStreams tolerates a stream that ends before its type', () => {
  const streams = new PeerStreams('client')
  assert.equal(streams.push(2, hex('40'), false), null)
  assert.equal(streams.reset(2), null)
  assert.equal(streams.push(6, hex('40'), true), null)
  assert.equal(streams.push(10, NOTHING, true), null)
  assert.equal(streams.reset(14), null)
})

test('PeerStreams refuses push streams', () => {
  assert.deepEqual(errorOf('client', hex('01 00')), connection(H3.STREAM_CREATION_ERROR))
  assert.deepEqual(errorOf('server', hex('01 00')), connection(H3.ID_ERROR))
})

test('PeerStreams wants SETTINGS first on the control stream', () => {
  for (const type of [0x00, 0x01, 0x03, 0x05, 0x07, 0x0d, 0x06, 0x21]) {
    assert.deepEqual(errorOf('client', hex('00'), frame(type, '\0'), frame(4)), connection(H3.MISSING_SETTINGS), `${type}`)
  }
})

test('PeerStreams refuses frames that do not belong on the control stream', () => {
  for (const type of [0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x08, 0x09]) {
    assert.deepEqual(errorOf('client', CONTROL, frame(type)), connection(H3.FRAME_UNEXPECTED), `${type}`)
  }
  assert.deepEqual(errorOf('server', CONTROL, frame(0x0d, '\0')), connection(H3.FRAME_UNEXPECTED))
})

test('PeerStreams skips unknown frames, however long', () => {
  assert.equal(errorOf('client', CONTROL, frame(0x21, 'x'.repeat(5000)), frame(0x0d, '\0')), null)
  assert.deepEqual(errorOf('client', CONTROL, frame(0x21, 'x'.repeat(5000)), frame(0x06)), connection(H3.FRAME_UNEXPECTED))
})

test('PeerStreams refuses settings of HTTP/2 and settings that come twice', () => {
  const settings = (...payload: Uint8Array[]) => errorOf('client', hex('00'), frame(4, Buffer.concat(payload)))
  for (const id of [0x00, 0x02, 0x03, 0x04, 0x05])
    assert.deepEqual(settings(hex('0600'), varint(id), hex('00')), connection(H3.SETTINGS_ERROR), `${id}`)
  assert.deepEqual(settings(hex('0600 2100 0601')), connection(H3.SETTINGS_ERROR))
  assert.equal(settings(hex('0100 0600 0700 0801 2100 3301'), varint(2 ** 40), varint(2 ** 40)), null)
})

test('PeerStreams wants whole settings, and not many', () => {
  for (const payload of ['06', '0640', '46', '0600 c0']) {
    assert.deepEqual(errorOf('client', hex('00'), frame(4, hex(payload))), connection(H3.FRAME_ERROR), payload)
  }
  assert.deepEqual(errorOf('client', hex('00 04 4401')), connection(H3.EXCESSIVE_LOAD))
  const most = Array.from({ length: 256 }, (_, i) => Buffer.concat([Buffer.of(0x48 + (i >> 8), i), hex('4000')]))
  assert.equal(errorOf('client', hex('00'), frame(4, Buffer.concat(most))), null)
})

test('PeerStreams wants frames of one integer to consist of it', () => {
  for (const type of [0x03, 0x07, 0x0d]) {
    for (const payload of ['', '40', '0000', '800000', '000000000000000000', 'c000000000000000 00']) {
      assert.deepEqual(errorOf('client', CONTROL, frame(type, hex(payload))), connection(H3.FRAME_ERROR), `${type} ${payload}`)
    }
    assert.deepEqual(errorOf('client', CONTROL, Buffer.of(type, 9)), connection(H3.FRAME_ERROR))
  }
})

test('PeerStreams refuses MAX_PUSH_ID that decreases', () => {
  const limit = (id: number) => frame(0x0d, varint(id))
  assert.equal(errorOf('client', CONTROL, limit(5), limit(5), limit(6)), null)
  assert.deepEqual(errorOf('client', CONTROL, limit(5), limit(4)), connection(H3.ID_ERROR))
})

test('PeerStreams refuses CANCEL_PUSH, since nothing is pushed', () => {
  assert.deepEqual(errorOf('client', CONTROL, frame(0x0d, varint(5)), frame(0x03, varint(0))), connection(H3.ID_ERROR))
  assert.deepEqual(errorOf('server', CONTROL, frame(0x03, varint(0))), connection(H3.ID_ERROR))
})

test('PeerStreams knows the last GOAWAY', () => {
  const streams = new PeerStreams('server')
  assert.equal(streams.goaway, Number.POSITIVE_INFINITY)
  assert.equal(streams.push(3, CONTROL, false), null)
  assert.equal(streams.push(3, GOAWAY_SOON, false), null)
  assert.equal(streams.goaway, 2 ** 62 - 4)
  assert.equal(streams.push(3, Buffer.concat([goaway(400), goaway(400)]), false), null)
  assert.equal(streams.goaway, 400)
})

test('PeerStreams refuses GOAWAY that increases, or names no request stream', () => {
  assert.deepEqual(errorOf('server', CONTROL, goaway(4), goaway(8)), connection(H3.ID_ERROR))
  assert.deepEqual(errorOf('client', CONTROL, goaway(4), goaway(8)), connection(H3.ID_ERROR))
  for (const id of [1, 2, 3, 70_001]) {
    assert.deepEqual(errorOf('server', CONTROL, goaway(id)), connection(H3.ID_ERROR))
    // push IDs
    assert.equal(errorOf('client', CONTROL, goaway(id)), null)
  }
})

test('PeerStreams takes nothing into a dynamic table', () => {
  assert.equal(errorOf('client', hex('02 20 20')), null)
  // another capacity, insert with name reference, with literal name, duplicate
  for (const instruction of ['21', '3fe11f', '3f00', 'c0 00', '80 00', '40 00', '00']) {
    assert.deepEqual(errorOf('client', hex('02 20'), hex(instruction)), connection(Qpack.ENCODER_STREAM_ERROR), instruction)
  }
})

test('PeerStreams takes only cancellations on the decoder stream', () => {
  assert.equal(errorOf('client', hex('03 40 7e 7f00 7f8101 7f8001 7fffffffffffffffff3f 44')), null)
  for (const instruction of ['00', '01', '3f00', '80', '84', 'ff00', '7f00 00', '7f80 00 80', '7f8080808080808080 8000']) {
    assert.deepEqual(errorOf('client', hex('03 40'), hex(instruction)), connection(Qpack.DECODER_STREAM_ERROR), instruction)
  }
})

test('PeerStreams takes what we send', () => {
  assert.equal(Buffer.from(CONTROL_PREAMBLE).toString('hex'), '0004050680004000')
  assert.equal(Buffer.from(goaway(0)).toString('hex'), '070100')
  assert.equal(Buffer.from(goaway(16_384)).toString('hex'), '070480004000')
  for (const peer of ['client', 'server'] as const) assert.equal(errorOf(peer, CONTROL_PREAMBLE, GOAWAY_SOON, goaway(0)), null)
})

test('PeerStreams gives the same outcome for any octets however they are cut', () => {
  const start = fc.constantFrom(NOTHING, CONTROL, hex('02'), hex('03'))
  const part = fc.oneof(
    fc.uint8Array({ maxLength: 20 }),
    fc.tuple(fc.nat({ max: 16 }), fc.uint8Array({ maxLength: 9 })).map(([type, payload]) => frame(type, payload)),
  )
  fc.assert(
    fc.property(start, fc.array(part, { maxLength: 6 }), fc.constantFrom<PeerRole>('client', 'server'), (first, parts, peer) => {
      errorOf(peer, first, ...parts)
    }),
    { numRuns: 1000 },
  )
})
