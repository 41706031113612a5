import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { FrameFlag, FrameType } from '../../../transports/http2/codes.ts'
import { PREFACE } from '../../../transports/http2/session.ts'
import { block, data, frame, GET, headers, POST, ping, rst, SETTINGS, SETTINGS_ACK, settings, u32, windowUpdate } from './frames.ts'
import { Peer } from './peer.ts'

const { DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION } = FrameType
const { END_STREAM, END_HEADERS, PADDED } = FrameFlag
const WAIT = GET.with(3, [':path', '/wait'])
const OPEN = headers(1, WAIT, 0)
const HALF_CLOSED = headers(1, WAIT)

/** What comes back when these frames follow the handshake, in one piece and octet by octet. */
function answersTo(...frames: readonly Uint8Array[]): readonly string[] {
  const whole = Peer.ready()
  whole.send(...frames)
  const octets = Peer.ready({ pieces: 1 })
  octets.send(...frames)
  const answers = whole.received()
  assert.deepEqual(octets.received(), answers)
  assert.equal(whole.session.hasEnded, answers.at(-1)?.startsWith('GOAWAY'))
  return answers
}

/** RFC 9113 §5.4.1, by rule: the frames, the last stream and the code of the GOAWAY. */
const CONNECTION_ERRORS: Readonly<Record<string, readonly [frames: readonly Uint8Array[], lastStream: number, code: string]>> = {
  'SETTINGS on a stream (H2-04)': [[frame(4, 0, 1)], 0, 'PROTOCOL_ERROR'],
  'SETTINGS of five octets (H2-04)': [[frame(4, 0, 0, Buffer.alloc(5))], 0, 'FRAME_SIZE_ERROR'],
  'an acknowledgement of SETTINGS with a payload (H2-04)': [[frame(4, FrameFlag.ACK, 0, Buffer.alloc(6))], 0, 'FRAME_SIZE_ERROR'],
  'ENABLE_PUSH 2 (H2-05)': [[settings([2, 2])], 0, 'PROTOCOL_ERROR'],
  'INITIAL_WINDOW_SIZE 2^31 (H2-05)': [[settings([4, 2 ** 31])], 0, 'FLOW_CONTROL_ERROR'],
  'MAX_FRAME_SIZE 16383 (H2-05)': [[settings([5, 16_383])], 0, 'PROTOCOL_ERROR'],
  'MAX_FRAME_SIZE 2^24 (H2-05)': [[settings([5, 2 ** 24])], 0, 'PROTOCOL_ERROR'],
  'NO_RFC7540_PRIORITIES 2 (RFC 9218 §2.1)': [[settings([9, 2])], 0, 'PROTOCOL_ERROR'],
  'HEADERS of 16,385 octets (H2-06)': [[frame(HEADERS, END_HEADERS, 1, Buffer.alloc(16_385))], 0, 'FRAME_SIZE_ERROR'],
  'DATA of 16,385 octets (H2-06)': [[OPEN, frame(DATA, 0, 1, Buffer.alloc(16_385))], 1, 'FRAME_SIZE_ERROR'],
  'PING of seven octets (H2-08)': [[frame(PING, 0, 0, Buffer.alloc(7))], 0, 'FRAME_SIZE_ERROR'],
  'PING on a stream (H2-08)': [[frame(PING, 0, 1, Buffer.alloc(8))], 0, 'PROTOCOL_ERROR'],
  'GOAWAY on a stream (H2-11)': [[frame(GOAWAY, 0, 1, Buffer.alloc(8))], 0, 'PROTOCOL_ERROR'],
  'GOAWAY of seven octets (H2-11)': [[frame(GOAWAY, 0, 0, Buffer.alloc(7))], 0, 'FRAME_SIZE_ERROR'],
  'PUSH_PROMISE (H2-15)': [[frame(PUSH_PROMISE, END_HEADERS, 1, u32(2))], 0, 'PROTOCOL_ERROR'],
  'PRIORITY on stream 0 (H2-16)': [[frame(PRIORITY, 0, 0, Buffer.alloc(5))], 0, 'PROTOCOL_ERROR'],
  'HEADERS on an even stream (H2-20)': [[headers(2, GET)], 0, 'PROTOCOL_ERROR'],
  'HEADERS on a lower stream (H2-20)': [[headers(5, WAIT), headers(3, WAIT)], 5, 'PROTOCOL_ERROR'],
  'HEADERS on a stream that has ended (H2-20)': [[headers(1, GET), headers(1, GET)], 1, 'PROTOCOL_ERROR'],
  'DATA on an idle stream (H2-21)': [[data(1, 'x')], 0, 'PROTOCOL_ERROR'],
  'DATA on a stream of ours (H2-21)': [[OPEN, data(2, 'x')], 1, 'PROTOCOL_ERROR'],
  'WINDOW_UPDATE on an idle stream (H2-21)': [[windowUpdate(1, 1)], 0, 'PROTOCOL_ERROR'],
  'RST_STREAM on an idle stream (H2-24)': [[rst(1)], 0, 'PROTOCOL_ERROR'],
  'RST_STREAM on stream 0 (H2-24)': [[rst(0)], 0, 'PROTOCOL_ERROR'],
  'RST_STREAM of three octets (H2-24)': [[OPEN, frame(RST_STREAM, 0, 1, Buffer.alloc(3))], 1, 'FRAME_SIZE_ERROR'],
  'WINDOW_UPDATE by 0 on the connection (H2-26)': [[windowUpdate(0, 0)], 0, 'PROTOCOL_ERROR'],
  'WINDOW_UPDATE beyond 2^31-1 on the connection (H2-26)': [[windowUpdate(0, 2 ** 31 - 1)], 0, 'FLOW_CONTROL_ERROR'],
  'WINDOW_UPDATE of three octets (H2-26)': [[frame(WINDOW_UPDATE, 0, 0, Buffer.alloc(3))], 0, 'FRAME_SIZE_ERROR'],
  'settings that raise a window beyond 2^31-1 (H2-27)': [
    [OPEN, windowUpdate(1, 2 ** 31 - 1 - 65_535), settings([4, 65_536])],
    1,
    'FLOW_CONTROL_ERROR',
  ],
  'DATA with as much padding as payload (H2-30)': [[OPEN, frame(DATA, PADDED, 1, Buffer.from([3, 0, 0]))], 1, 'PROTOCOL_ERROR'],
  'DATA that has padding and is empty (H2-30)': [[OPEN, frame(DATA, PADDED, 1)], 1, 'PROTOCOL_ERROR'],
  'HEADERS with as much padding as payload (H2-30)': [[frame(HEADERS, PADDED | END_HEADERS, 1, Buffer.from([1]))], 0, 'PROTOCOL_ERROR'],
  'HEADERS with half a priority (RFC 9113 §6.2)': [
    [frame(HEADERS, FrameFlag.PRIORITY | END_HEADERS, 1, Buffer.alloc(4))],
    0,
    'FRAME_SIZE_ERROR',
  ],
  'DATA on stream 0 (H2-30)': [[data(0, 'x')], 0, 'PROTOCOL_ERROR'],
  'HEADERS on stream 0 (H2-30)': [[headers(0, GET)], 0, 'PROTOCOL_ERROR'],
  'CONTINUATION without HEADERS (H2-40)': [[frame(CONTINUATION, END_HEADERS, 1)], 0, 'PROTOCOL_ERROR'],
  'CONTINUATION on another stream (H2-40)': [
    [frame(HEADERS, END_STREAM, 1, block(GET)), frame(CONTINUATION, END_HEADERS, 3)],
    0,
    'PROTOCOL_ERROR',
  ],
  'PING in a field block (H2-40)': [[frame(HEADERS, END_STREAM, 1, block(GET)), ping('12345678')], 0, 'PROTOCOL_ERROR'],
  'an unknown frame in a field block (H2-07)': [[frame(HEADERS, 0, 1, block(GET)), frame(0xbb, 0, 0)], 0, 'PROTOCOL_ERROR'],
  'a field block that cannot be decoded (H2-43)': [[frame(HEADERS, END_HEADERS, 1, Buffer.from('80', 'hex'))], 0, 'COMPRESSION_ERROR'],
  'trailers that cannot be decoded (H2-43)': [
    [OPEN, frame(HEADERS, END_HEADERS | END_STREAM, 1, Buffer.from('80', 'hex'))],
    1,
    'COMPRESSION_ERROR',
  ],
  'a dynamic table that is too large (H2-44)': [[frame(HEADERS, END_HEADERS, 1, Buffer.from('3fe1ff03', 'hex'))], 0, 'COMPRESSION_ERROR'],
}

describe('an error of the connection is answered by GOAWAY', () => {
  for (const [what, [frames, lastStream, code]] of Object.entries(CONNECTION_ERRORS)) {
    test(what, () => {
      const answers = answersTo(...frames)
      assert.equal(answers.at(-1), `GOAWAY ${lastStream} ${code}`)
      assert.equal(answers.filter((answer) => answer.startsWith('GOAWAY')).length, 1)
    })
  }
})

/** RFC 9113 §5.4.2, by rule: the frames, and the code of the RST_STREAM on stream 1. */
const STREAM_ERRORS: Readonly<Record<string, readonly [frames: readonly Uint8Array[], code: string]>> = {
  'PRIORITY of four octets (H2-16)': [[OPEN, frame(PRIORITY, 0, 1, Buffer.alloc(4))], 'FRAME_SIZE_ERROR'],
  'DATA behind the end (H2-21)': [[HALF_CLOSED, data(1, 'x')], 'STREAM_CLOSED'],
  'HEADERS behind the end (H2-21)': [[HALF_CLOSED, headers(1, [['x', 'y']])], 'STREAM_CLOSED'],
  'DATA on a stream that has been answered (H2-21)': [[headers(1, GET), data(1, 'x')], 'STREAM_CLOSED'],
  'WINDOW_UPDATE by 0 (H2-26)': [[OPEN, windowUpdate(1, 0)], 'PROTOCOL_ERROR'],
  'WINDOW_UPDATE beyond 2^31-1 (H2-26)': [[OPEN, windowUpdate(1, 2 ** 31 - 1)], 'FLOW_CONTROL_ERROR'],
  'more content than the window (H2-29)': [[OPEN, ...Array.from({ length: 4 }, () => data(1, Buffer.alloc(16_384)))], 'FLOW_CONTROL_ERROR'],
  'less content than its length (H2-54)': [
    [headers(1, [...POST, ['content-length', '3']], 0), data(1, 'xy', END_STREAM)],
    'PROTOCOL_ERROR',
  ],
  'more content than its length (H2-54)': [[headers(1, [...POST, ['content-length', '3']], 0), data(1, 'wxyz')], 'PROTOCOL_ERROR'],
  'a length without content (H2-54)': [[headers(1, [...POST, ['content-length', '3']])], 'PROTOCOL_ERROR'],
  'trailers instead of the rest (H2-54)': [
    [headers(1, [...POST, ['content-length', '3']], 0), data(1, 'xy'), headers(1, [['x', 'y']])],
    'PROTOCOL_ERROR',
  ],
  'a second header section that ends nothing (H2-55)': [[OPEN, headers(1, [['x', 'y']], 0)], 'PROTOCOL_ERROR'],
  'trailers with a pseudo-field (H2-55)': [[OPEN, headers(1, [[':path', '/']])], 'PROTOCOL_ERROR'],
  'trailers with a field of HTTP/1.1 (H2-55)': [[OPEN, headers(1, [['connection', 'close']])], 'PROTOCOL_ERROR'],
}

describe('an error of a stream is answered by RST_STREAM', () => {
  for (const [what, [frames, code]] of Object.entries(STREAM_ERRORS)) {
    test(what, () => {
      const answers = answersTo(...frames)
      assert.equal(answers.at(-1), `RST_STREAM 1 ${code}`)
      assert.equal(answers.filter((answer) => answer.startsWith('RST_STREAM')).length, 1)
    })
  }
})

const without = (name: string) => GET.filter(([each]) => each !== name)

/** RFC 9113 §8.1.1. */
const MALFORMED: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  'no :method (H2-50)': without(':method'),
  'no :scheme (H2-50)': without(':scheme'),
  'no :path (H2-50)': without(':path'),
  'no :authority and no Host': without(':authority'),
  ':method twice (H2-50)': [...GET.slice(0, 1), ...GET],
  ':status (H2-50)': [...GET, [':status', '200']],
  'an unknown pseudo-field (H2-50)': [...GET, [':x', 'y']],
  'a pseudo-field behind another (H2-50)': [...without(':path'), ['x', 'y'], [':path', '/']],
  'a method that is no token': GET.with(0, [':method', 'GE T']),
  'an empty :path (H2-51)': GET.with(3, [':path', '']),
  'a :path that does not begin with / (H2-51)': GET.with(3, [':path', 'x']),
  '* with GET (H2-51)': GET.with(3, [':path', '*']),
  'a blank in :path': GET.with(3, [':path', '/ HTTP/1.1']),
  'a line break in :path': GET.with(3, [':path', '/\r\n']),
  'user information (H2-51)': GET.with(2, [':authority', 'me@dns.example']),
  'another Host than :authority (H2-51)': [...GET, ['host', 'evil.example']],
  'Host twice': [...without(':authority'), ['host', 'dns.example'], ['host', 'dns.example']],
  'an upper-case letter in a name (H2-52)': [...GET, ['X', 'y']],
  'a blank in a name (H2-52)': [...GET, ['x y', 'z']],
  'a colon in a name (H2-52)': [...GET, ['x:y', 'z']],
  'an empty name (H2-52)': [...GET, ['', 'z']],
  'a line break in a value (H2-52)': [...GET, ['x', 'y\r\nz: 1']],
  'NUL in a value (H2-52)': [...GET, ['x', '\0']],
  'a blank in front of a value (H2-52)': [...GET, ['x', ' y']],
  'a tabulator behind a value (H2-52)': [...GET, ['x', 'y\t']],
  'connection (H2-53)': [...GET, ['connection', 'keep-alive']],
  'proxy-connection (H2-53)': [...GET, ['proxy-connection', 'keep-alive']],
  'keep-alive (H2-53)': [...GET, ['keep-alive', '5']],
  'transfer-encoding (H2-53)': [...GET, ['transfer-encoding', 'chunked']],
  'upgrade (H2-53)': [...GET, ['upgrade', 'h2c']],
  'te: gzip (H2-53)': [...GET, ['te', 'gzip']],
  'a content-length that is no number (H2-54)': [...GET, ['content-length', '1x']],
  'an empty content-length (H2-54)': [...GET, ['content-length', '']],
  'a negative content-length (H2-54)': [...GET, ['content-length', '-1']],
  'two content-lengths (H2-54)': [...GET, ['content-length', '1'], ['content-length', '2']],
  'CONNECT with :path (RFC 9113 §8.5)': [
    [':method', 'CONNECT'],
    [':authority', 'dns.example:443'],
    [':path', '/'],
  ],
  'CONNECT without :authority (RFC 9113 §8.5)': [
    [':method', 'CONNECT'],
    ['host', 'dns.example:443'],
  ],
  ':protocol, which was not offered (RFC 8441 §3)': [[':method', 'CONNECT'], [':protocol', 'websocket'], ...GET.slice(1)],
}

describe('a malformed request is reset', () => {
  for (const [what, fields] of Object.entries(MALFORMED)) {
    test(what, () => {
      const peer = Peer.ready()
      peer.send(headers(1, fields, 0), headers(3, GET))
      assert.deepEqual(peer.received(), ['RST_STREAM 1 PROTOCOL_ERROR', 'HEADERS 3 :status=200 END_STREAM'])
      assert.ok(peer.log.includes('dropped: http_bad_request'))
      assert.equal(peer.hearers.has(1), false)
    })
  }
})

test('what follows GOAWAY is not read', () => {
  const peer = Peer.ready()
  peer.send(data(0, 'x'), headers(1, GET))
  peer.send(headers(3, GET))
  assert.deepEqual(peer.received(), ['GOAWAY 0 PROTOCOL_ERROR'])
  assert.deepEqual(peer.log, ['dropped: http2_error'])
})

test('an error of the connection aborts the requests that are open', () => {
  const peer = Peer.ready()
  peer.send(HALF_CLOSED, data(0, 'x'))
  assert.equal(peer.log.at(-1), '1 is aborted')
  peer.hearer(1).answer('too late')
  assert.deepEqual(peer.received(), ['GOAWAY 1 PROTOCOL_ERROR'])
})

describe('the preface (H2-02)', () => {
  for (const [what, octets] of Object.entries({
    'a request of HTTP/1.1': Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    'another end': Buffer.concat([PREFACE.subarray(0, 23), Buffer.from('\r')]),
    'PING instead of SETTINGS': Buffer.concat([PREFACE, ping('12345678')]),
    'an acknowledgement instead of SETTINGS': Buffer.concat([PREFACE, SETTINGS_ACK]),
  })) {
    test(what, () => {
      for (const pieces of [Number.POSITIVE_INFINITY, 1]) {
        const peer = new Peer({ pieces })
        peer.send(octets, SETTINGS)
        assert.equal(peer.received().at(-1), 'GOAWAY 0 PROTOCOL_ERROR')
      }
    })
  }

  test('our SETTINGS do not wait for it', () => {
    assert.deepEqual(new Peer().received(), ['SETTINGS 000300000064000600004000000900000001', 'WINDOW_UPDATE 0 196609'])
  })
})

test('frames that mean nothing are ignored (H2-07, H2-11, H2-16)', () => {
  const priorityUpdate = frame(0x10, 0, 0, Buffer.concat([u32(1), Buffer.from('u=1')]))
  const unknown = [frame(0xfa, 0xff, 7, Buffer.from('grease')), settings([0x0a0a, 1], [8, 1]), priorityUpdate]
  const priority = frame(PRIORITY, 0, 9, Buffer.alloc(5))
  const late = [headers(1, GET), windowUpdate(1, 1), rst(1)]
  assert.deepEqual(answersTo(...unknown, priority, ...late, ping('pingpong', FrameFlag.ACK), headers(3, GET)), [
    'SETTINGS ACK',
    'HEADERS 1 :status=200 END_STREAM',
    'HEADERS 3 :status=200 END_STREAM',
  ])
})

test('a PRIORITY frame of four octets ends its stream, and nothing follows on it (H2-16)', () => {
  const peer = Peer.ready()
  peer.send(headers(1, [...GET.slice(0, 3), [':path', '/wait']]), frame(PRIORITY, 0, 1, Buffer.alloc(4)))
  peer.hearer(1).answer('late')
  assert.deepEqual(peer.received(), ['RST_STREAM 1 FRAME_SIZE_ERROR'])
  assert.equal(peer.session.openStreams, 0)
})
