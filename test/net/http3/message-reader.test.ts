import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import type { Field } from '../../../net/fields.ts'
import { H3, type Http3Error, Qpack } from '../../../net/http3/errors.ts'
import type { Http3Request, Http3Response } from '../../../net/http3/fields.ts'
import { type MessageHandler, MessageReader, REQUEST, RESPONSE } from '../../../net/http3/message-reader.ts'
import { data, frame, headers, hex } from './bytes.ts'

const POST: readonly Field[] = [
  [':method', 'POST'],
  [':scheme', 'https'],
  [':authority', 'dns.example'],
  [':path', '/dns-query'],
]
const HEADERS = headers(...POST)
const TRAILERS = headers(['x-sum', '1'])
const GREASE = frame(0x21, 'whatever')
const TOO_LARGE: Field = ['x', 'y'.repeat(16_384)]
const NOTHING = new Uint8Array(0)

/** Writes down what it hears; pieces of content are joined. */
class Log implements MessageHandler<Http3Request & Http3Response> {
  readonly events: string[] = []

  onHeaders(message: Http3Request & Http3Response): void {
    this.events.push(message.method === undefined ? `${message.status}` : `${message.method} ${message.authority}${message.path}`)
  }

  onHeadersTooLarge(): void {
    this.events.push('431')
  }

  onData(chunk: Uint8Array): void {
    assert.notEqual(chunk.length, 0)
    const last = this.events.at(-1) ?? ''
    const text = Buffer.from(chunk).toString('latin1')
    if (last.startsWith('data ')) this.events[this.events.length - 1] = last + text
    else this.events.push(`data ${text}`)
  }

  onEnd(): void {
    this.events.push('end')
  }
}

interface Outcome {
  readonly events: readonly string[]
  readonly error: Http3Error | null
}

type Kind = typeof REQUEST | typeof RESPONSE

/** Reads a stream in pieces of a size, the last with FIN. */
function readIn(size: number, kind: Kind, stream: Uint8Array): Outcome {
  const log = new Log()
  const reader = new MessageReader<Http3Request | Http3Response>(kind as typeof REQUEST & typeof RESPONSE, log as never)
  let error: Http3Error | null = null
  for (let at = 0; at < stream.length && error === null; at += size) {
    // borrowed: what is read later must not depend on it
    const piece = Buffer.from(stream.subarray(at, at + size))
    error = reader.push(piece, false)
    piece.fill(0xaa)
  }
  return { events: log.events, error: error ?? reader.push(NOTHING, true) }
}

/** Reads the stream whole and octet by octet, which is the same. */
function read(kind: Kind, ...parts: Uint8Array[]): Outcome {
  const stream = Buffer.concat(parts)
  const whole = readIn(stream.length, kind, stream)
  assert.deepEqual(readIn(1, kind, stream), whole)
  return whole
}

function errorOf(kind: Kind, ...parts: Uint8Array[]): Http3Error | null {
  return read(kind, ...parts).error
}

const connection = (code: number): Http3Error => ({ code, scope: 'connection' })
const stream = (code: number): Http3Error => ({ code, scope: 'stream' })

test('MessageReader reads a request', () => {
  const parts = [GREASE, HEADERS, GREASE, data('ab'), data(''), GREASE, data('cd'), TRAILERS, GREASE]
  assert.deepEqual(read(REQUEST, ...parts), { events: ['POST dns.example/dns-query', 'data abcd', 'end'], error: null })
})

test('MessageReader takes FIN with the last octets', () => {
  const log = new Log()
  const reader = new MessageReader(REQUEST, log as MessageHandler<Http3Request>)
  assert.equal(reader.push(Buffer.concat([HEADERS, data('ab')]), true), null)
  assert.deepEqual(log.events, ['POST dns.example/dns-query', 'data ab', 'end'])
})

test('MessageReader hands content on as it comes', () => {
  const log = new Log()
  const reader = new MessageReader(REQUEST, log as MessageHandler<Http3Request>)
  reader.push(HEADERS, false)
  reader.push(data('abcd').subarray(0, 4), false)
  assert.deepEqual(log.events, ['POST dns.example/dns-query', 'data ab'])
})

test('MessageReader refuses DATA before HEADERS, and anything but unknown frames after trailers', () => {
  assert.deepEqual(read(REQUEST, data('x'), HEADERS), { events: [], error: connection(H3.FRAME_UNEXPECTED) })
  assert.deepEqual(errorOf(REQUEST, HEADERS, TRAILERS, data('x')), connection(H3.FRAME_UNEXPECTED))
  assert.deepEqual(errorOf(REQUEST, HEADERS, TRAILERS, TRAILERS), connection(H3.FRAME_UNEXPECTED))
})

test('MessageReader refuses frames of the control stream and of HTTP/2', () => {
  for (const type of [0x02, 0x03, 0x04, 0x06, 0x07, 0x08, 0x09, 0x0d]) {
    assert.deepEqual(errorOf(REQUEST, frame(type, '\0'), HEADERS), connection(H3.FRAME_UNEXPECTED), `${type}`)
    assert.deepEqual(errorOf(RESPONSE, headers([':status', '200']), frame(type)), connection(H3.FRAME_UNEXPECTED), `${type}`)
  }
})

test('MessageReader refuses pushes', () => {
  assert.deepEqual(errorOf(REQUEST, HEADERS, frame(0x05, '\0')), connection(H3.FRAME_UNEXPECTED))
  assert.deepEqual(errorOf(RESPONSE, frame(0x05, '\0')), connection(H3.ID_ERROR))
})

test('MessageReader refuses a stream that ends within a frame', () => {
  for (const last of [GREASE, data('abc'), HEADERS, TRAILERS]) {
    const before = last === HEADERS ? [] : [HEADERS]
    for (const length of [1, 2, last.length - 1]) {
      assert.deepEqual(errorOf(REQUEST, ...before, last.subarray(0, length)), connection(H3.FRAME_ERROR))
    }
  }
  assert.deepEqual(errorOf(REQUEST, hex('01 80010001 00')), connection(H3.FRAME_ERROR), 'though it is too long')
  // as CVE-2026-40208: more is announced than comes
  assert.deepEqual(errorOf(REQUEST, HEADERS, hex('0040ff'), Buffer.from('abcde')), connection(H3.FRAME_ERROR))
})

test('MessageReader refuses a stream that ends before a message', () => {
  for (const parts of [[], [GREASE]]) {
    assert.deepEqual(read(REQUEST, ...parts), { events: [], error: stream(H3.REQUEST_INCOMPLETE) })
    assert.deepEqual(read(RESPONSE, ...parts), { events: [], error: stream(H3.MESSAGE_ERROR) })
  }
  assert.deepEqual(errorOf(RESPONSE, headers([':status', '103'])), stream(H3.MESSAGE_ERROR))
})

test('MessageReader refuses malformed headers and trailers', () => {
  assert.deepEqual(read(REQUEST, headers(...POST, ['Upper', 'x'])), { events: [], error: stream(H3.MESSAGE_ERROR) })
  assert.deepEqual(read(RESPONSE, headers([':status', '2'])), { events: [], error: stream(H3.MESSAGE_ERROR) })
  const trailers = read(REQUEST, HEADERS, headers([':path', '/']))
  assert.deepEqual(trailers, { events: ['POST dns.example/dns-query'], error: stream(H3.MESSAGE_ERROR) })
})

test('MessageReader refuses what QPACK cannot decode', () => {
  assert.deepEqual(errorOf(REQUEST, frame(1, hex('000080'))), connection(Qpack.DECOMPRESSION_FAILED))
  assert.deepEqual(errorOf(REQUEST, frame(1)), connection(Qpack.DECOMPRESSION_FAILED))
  assert.deepEqual(errorOf(REQUEST, HEADERS, frame(1, hex('0100'))), connection(Qpack.DECOMPRESSION_FAILED))
})

test('MessageReader compares the content with Content-Length', () => {
  const head = headers(...POST, ['content-length', '4'])
  assert.deepEqual(errorOf(REQUEST, head, data('ab'), data('cd')), null)
  assert.deepEqual(errorOf(REQUEST, head, data('ab'), data('c')), stream(H3.MESSAGE_ERROR))
  assert.deepEqual(errorOf(REQUEST, head), stream(H3.MESSAGE_ERROR))
  // without waiting for what is too much
  const log = new Log()
  const reader = new MessageReader(REQUEST, log as MessageHandler<Http3Request>)
  assert.deepEqual(reader.push(Buffer.concat([head, data('ab'), hex('0003')]), false), stream(H3.MESSAGE_ERROR))
  assert.deepEqual(log.events, ['POST dns.example/dns-query', 'data ab'])
  assert.deepEqual(errorOf(REQUEST, headers(...POST, ['content-length', '0'])), null)
})

test('MessageReader reports headers that are too large once, and reads past the rest', () => {
  const outcome = { events: ['431'], error: null }
  assert.deepEqual(read(REQUEST, headers(...POST, TOO_LARGE), data('ab'), GREASE, TRAILERS), outcome)
  assert.deepEqual(read(REQUEST, frame(1, Buffer.alloc(65_537)), data('ab'), TRAILERS, frame(1, Buffer.alloc(65_537))), outcome)
  assert.deepEqual(errorOf(REQUEST, headers(...POST, TOO_LARGE), frame(0x04)), connection(H3.FRAME_UNEXPECTED))
})

test('MessageReader collects compressed headers up to 65,536 octets', () => {
  assert.deepEqual(errorOf(REQUEST, frame(1, Buffer.alloc(65_536))), connection(Qpack.DECOMPRESSION_FAILED))
  assert.deepEqual(read(REQUEST, frame(1, Buffer.alloc(65_537))), { events: ['431'], error: null })
})

test('MessageReader holds nothing of headers that are too long', () => {
  const before = process.memoryUsage().arrayBuffers
  const piece = Buffer.alloc(10_000)
  const readers = Array.from({ length: 1000 }, () => new MessageReader(REQUEST, new Log() as MessageHandler<Http3Request>))
  for (const reader of readers) {
    reader.push(hex('01 80010001'), false)
    for (let j = 0; j < 6; j++) assert.equal(reader.push(piece, false), null)
  }
  assert.ok(process.memoryUsage().arrayBuffers - before < 4_000_000)
})

test('MessageReader refuses trailers that are too large', () => {
  assert.deepEqual(errorOf(REQUEST, HEADERS, headers(TOO_LARGE)), stream(H3.EXCESSIVE_LOAD))
  assert.deepEqual(errorOf(REQUEST, HEADERS, frame(1, Buffer.alloc(65_537))), stream(H3.EXCESSIVE_LOAD))
})

test('MessageReader reads a response behind interim ones', () => {
  const parts = [headers([':status', '103'], ['link', 'x']), headers([':status', '100']), headers([':status', '200']), data('ab'), TRAILERS]
  assert.deepEqual(read(RESPONSE, ...parts), { events: ['200', 'data ab', 'end'], error: null })
  assert.deepEqual(errorOf(RESPONSE, headers([':status', '100']), data('ab')), connection(H3.FRAME_UNEXPECTED))
})

test('MessageReader gives the same outcome for any octets however they are cut', () => {
  const part = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.constantFrom(HEADERS, TRAILERS, GREASE, data('abc'), headers(...POST, ['content-length', '3']), headers([':status', '200'])),
    fc.tuple(fc.nat({ max: 16 }), fc.uint8Array({ maxLength: 70 })).map(([type, payload]) => frame(type, payload)),
  )
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 6 }),
      fc.constantFrom<Kind>(REQUEST, RESPONSE),
      fc.integer({ min: 1, max: 50 }),
      (parts, kind, size) => {
        const bytes = Buffer.concat(parts)
        assert.deepEqual(readIn(size, kind, bytes), read(kind, bytes))
      },
    ),
    { numRuns: 500 },
  )
})
