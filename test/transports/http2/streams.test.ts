import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { FrameFlag, FrameType } from '../../../transports/http2/codes.ts'
import { PREFACE } from '../../../transports/http2/session.ts'
import { block, data, frame, GET, goaway, headers, POST, ping, rst, SETTINGS, settings, windowUpdate } from './frames.ts'
import { Peer } from './peer.ts'

const { DATA, HEADERS, CONTINUATION } = FrameType
const { END_STREAM, END_HEADERS, PADDED } = FrameFlag
const WAIT = GET.with(3, [':path', '/wait'])
const UPLOAD = POST.with(3, [':path', '/wait'])
const INITIAL_WINDOW_SIZE = 4

describe('settings and PING', () => {
  test('every SETTINGS frame is acknowledged, in order (H2-03)', () => {
    const peer = new Peer()
    peer.received()
    peer.send(PREFACE, SETTINGS, ping('12345678'), SETTINGS)
    assert.deepEqual(peer.received(), ['SETTINGS ACK', 'PING ACK 12345678', 'SETTINGS ACK'])
  })

  test('a new window holds for the streams that are open: it may become negative (H2-25, H2-27)', () => {
    const peer = Peer.ready()
    peer.send(settings([INITIAL_WINDOW_SIZE, 100]), headers(1, WAIT))
    peer.received()
    peer.hearer(1).answer('x'.repeat(200))
    assert.deepEqual(peer.received(), ['HEADERS 1 :status=200', 'DATA 1 100 octets'])
    // 100 have been sent: 50 too many
    peer.send(settings([INITIAL_WINDOW_SIZE, 50]), windowUpdate(1, 50))
    assert.deepEqual(peer.received(), ['SETTINGS ACK'])
    peer.send(windowUpdate(1, 10))
    assert.deepEqual(peer.received(), ['DATA 1 "xxxxxxxxxx"'])
    peer.send(settings([INITIAL_WINDOW_SIZE, 1000]))
    assert.deepEqual(peer.received(), ['SETTINGS ACK', 'DATA 1 90 octets END_STREAM'])
  })

  test('of several values the last one holds', () => {
    const peer = Peer.ready()
    peer.send(settings([INITIAL_WINDOW_SIZE, 100], [INITIAL_WINDOW_SIZE, 1]), headers(1, WAIT))
    peer.received()
    peer.hearer(1).answer('xy')
    assert.equal(peer.received().at(-1), 'DATA 1 "x"')
  })
})

describe('a request', () => {
  test('comes in pieces of any size', () => {
    for (const pieces of [1, 2, 7, 10, 1000]) {
      const peer = Peer.ready({ pieces })
      peer.send(headers(1, POST, 0), data(1, 'ab'), data(1, 'c', END_STREAM), headers(3, GET))
      assert.deepEqual(peer.received(), ['HEADERS 1 :status=200', 'DATA 1 "abc" END_STREAM', 'HEADERS 3 :status=200 END_STREAM'])
    }
  })

  test('may have padding, and a priority, which mean nothing (H2-25)', () => {
    const peer = Peer.ready()
    const priority = Buffer.from('8000000010', 'hex')
    const padded = Buffer.concat([Buffer.from([3]), priority, block(POST), Buffer.alloc(3)])
    peer.send(frame(HEADERS, PADDED | FrameFlag.PRIORITY | END_HEADERS, 1, padded))
    peer.send(frame(DATA, PADDED | END_STREAM, 1, Buffer.from('\x04abc\0\0\0\0', 'latin1')))
    assert.deepEqual(peer.received(), ['HEADERS 1 :status=200', 'DATA 1 "abc" END_STREAM'])
  })

  test('may have its field block in several frames (H2-40)', () => {
    const whole = block(GET)
    const peer = Peer.ready()
    const pieces = [whole.subarray(0, 3), whole.subarray(3, 4), whole.subarray(4)]
    peer.send(
      frame(HEADERS, END_STREAM, 1, pieces[0]),
      frame(CONTINUATION, 0, 1, pieces[1]),
      frame(CONTINUATION, END_HEADERS, 1, pieces[2]),
    )
    assert.deepEqual(peer.received(), ['HEADERS 1 :status=200 END_STREAM'])
    peer.send(frame(HEADERS, END_STREAM, 3), frame(CONTINUATION, END_HEADERS, 3, whole))
    assert.deepEqual(peer.received(), ['HEADERS 3 :status=200 END_STREAM'])
  })

  test('may have trailers (H2-55)', () => {
    const peer = Peer.ready()
    peer.send(headers(1, POST, 0), data(1, 'ab'), headers(1, [['x-sum', '1']]))
    assert.equal(peer.log.at(-1), 'end of 1: 2 octets, x-sum=1')
    assert.deepEqual(peer.received(), ['HEADERS 1 :status=200', 'DATA 1 "ab" END_STREAM'])
  })

  test('may say te: trailers, and Host beside the same :authority (H2-51, H2-53)', () => {
    const peer = Peer.ready()
    peer.send(headers(1, [...GET, ['te', 'trailers'], ['host', 'dns.example']]))
    peer.send(headers(3, [...GET.toSpliced(2, 1), ['host', 'dns.example']]))
    peer.send(headers(5, [...POST, ['content-length', '2, 2']], 0), data(5, 'ab', END_STREAM))
    assert.equal(peer.hearers.size, 3)
  })

  test('may be answered as soon as the last of its content is there', () => {
    const peer = Peer.ready()
    peer.send(headers(1, UPLOAD, 0))
    const hearer = peer.hearer(1)
    hearer.onData = (_chunk, isLast) => {
      if (isLast) hearer.answer('done')
    }
    peer.send(data(1, 'a'), data(1, 'b', END_STREAM))
    assert.deepEqual(peer.received(), ['HEADERS 1 :status=200', 'DATA 1 "done" END_STREAM'])
    assert.equal(peer.session.needsCheck, false)
  })

  test('that is reset is aborted, and nothing is sent on it any more (H2-24)', () => {
    const peer = Peer.ready()
    peer.send(headers(1, WAIT), rst(1))
    assert.equal(peer.log.at(-1), '1 is aborted')
    const { stream } = peer.hearer(1)
    peer.hearer(1).answer('late')
    stream.sendHeaders([[':status', '200']], false)
    assert.equal(stream.write(Buffer.from('x')), true)
    stream.end([])
    stream.consume(1)
    stream.reset(0)
    assert.deepEqual(peer.received(), [])
  })

  test('that is answered before it has ended is reset with NO_ERROR, and the rest of it ignored (H2-32, H2-28)', () => {
    const peer = Peer.ready()
    peer.send(headers(1, UPLOAD, 0), data(1, 'x'))
    peer.hearer(1).answer('no')
    assert.deepEqual(peer.received(), ['HEADERS 1 :status=200', 'DATA 1 "no" END_STREAM', 'RST_STREAM 1 NO_ERROR'])
    for (let i = 0; i < 100; i++) peer.send(data(1, Buffer.alloc(16_384)))
    const answers = peer.received()
    assert.ok(answers.every((answer) => answer.startsWith('WINDOW_UPDATE 0 ')))
    const credit = answers.reduce((sum, answer) => sum + Number(answer.split(' ')[2]), 0)
    assert.ok(credit > 99 * 16_384 && credit <= 100 * 16_384 + 1, `${credit}`)
    // its trailers too, and what they put into the table
    const literal = Buffer.from('4001610162', 'hex')
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, literal))
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, Buffer.concat([block(GET), Buffer.from('be', 'hex')])))
    assert.deepEqual(peer.received(), ['HEADERS 3 :status=200 END_STREAM'])
  })

  test('that is answered before it has ended may end if it fits the window: curl 7 takes a reset for a failure', () => {
    const peer = Peer.ready()
    const upload = (length: number) => [...UPLOAD, ['content-length', String(length)] as const]
    peer.send(headers(1, upload(3), 0), headers(3, upload(65_536), 0), headers(5, upload(2), 0), headers(7, upload(2), 0))
    for (const id of [1, 3, 5, 7]) peer.hearer(id).answer('no')
    const answered = (id: number) => [`HEADERS ${id} :status=200`, `DATA ${id} "no" END_STREAM`]
    assert.deepEqual(peer.received(), [...answered(1), ...answered(3), 'RST_STREAM 3 NO_ERROR', ...answered(5), ...answered(7)])
    const heard = peer.log.length
    peer.send(data(1, 'ab'), data(1, 'c', END_STREAM), data(5, 'abc'), data(7, 'a'))
    assert.deepEqual(peer.received(), ['RST_STREAM 5 PROTOCOL_ERROR'])
    assert.equal(peer.session.openStreams, 1)
    assert.equal(peer.session.held, 0)
    assert.equal(peer.hearer(1).content, '')
    peer.session.check(peer.now)
    peer.session.check(peer.now + 1999)
    assert.deepEqual(peer.received(), [])
    peer.session.check(peer.now + 2000)
    assert.deepEqual(peer.received(), ['RST_STREAM 7 NO_ERROR'])
    assert.equal(peer.session.needsCheck, false)
    assert.equal(peer.log.length, heard)
  })

  test('has a deadline for its content, if who serves it says so (H2-66)', () => {
    const peer = Peer.ready()
    peer.send(headers(1, UPLOAD, 0))
    peer.hearer(1).stream.contentMs = 10_000
    assert.equal(peer.session.needsCheck, true)
    for (peer.now = 2000; peer.now < 12_000; peer.now += 1000) peer.session.check(peer.now)
    assert.equal(peer.log.includes('1 is late'), false)
    peer.session.check(12_000)
    assert.equal(peer.log.at(-1), '1 is late')
    const count = peer.log.length
    peer.now += 60_000
    peer.session.check(peer.now)
    assert.equal(peer.log.length, count, 'said once')
    peer.send(data(1, 'x', END_STREAM))
    assert.equal(peer.session.needsCheck, false)
  })
})

describe('content from the client', () => {
  test('may be as long as the largest DNS message, without an update of the window', () => {
    const peer = Peer.ready()
    peer.send(headers(1, UPLOAD, 0))
    for (let sent = 0; sent < 65_535; sent += 16_384) peer.send(data(1, Buffer.alloc(Math.min(16_384, 65_535 - sent))))
    peer.send(data(1, '', END_STREAM))
    assert.equal(peer.log.at(-1), 'end of 1: 65535 octets')
    assert.deepEqual(
      peer.received().filter((answer) => answer.startsWith('WINDOW_UPDATE 1')),
      [],
    )
  })

  test('goes on as it is consumed, on the stream and on the connection (H2-28)', () => {
    const peer = Peer.ready()
    peer.send(headers(1, UPLOAD, 0))
    const { stream } = peer.hearer(1)
    peer.send(data(1, Buffer.alloc(16_384)), data(1, Buffer.alloc(16_384)))
    assert.deepEqual(peer.received(), [])
    stream.consume(32_767)
    assert.deepEqual(peer.received(), [])
    stream.consume(1)
    assert.deepEqual(peer.received(), ['WINDOW_UPDATE 0 32768', 'WINDOW_UPDATE 1 32768'])
    assert.equal(peer.session.held, 0)
  })

  test('a client that may send nothing more is told at once what it may', () => {
    const peer = Peer.ready()
    peer.send(headers(1, UPLOAD, 0))
    for (let sent = 0; sent < 65_535; sent += 16_384) peer.send(data(1, Buffer.alloc(Math.min(16_384, 65_535 - sent))))
    peer.hearer(1).stream.consume(1)
    assert.deepEqual(peer.received(), ['WINDOW_UPDATE 1 1'])
  })

  test('padding is given back, on the stream too (H2-25)', () => {
    const peer = Peer.ready()
    peer.send(headers(1, UPLOAD, 0))
    const padded = Buffer.concat([Buffer.from([255, 120]), Buffer.alloc(255)])
    for (let i = 0; i < 300; i++) peer.send(frame(DATA, PADDED, 1, padded))
    const updates = peer.received()
    assert.deepEqual(updates, ['WINDOW_UPDATE 0 32768', 'WINDOW_UPDATE 1 32768', 'WINDOW_UPDATE 0 32768', 'WINDOW_UPDATE 1 32768'])
  })

  test('more than the connection allows ends it (H2-29)', () => {
    const peer = Peer.ready()
    const sixteen = Buffer.alloc(16_384)
    for (let id = 1; id <= 11; id += 2) peer.send(headers(id, UPLOAD, 0), data(id, sixteen), data(id, sixteen), data(id, sixteen))
    assert.equal(peer.received().at(-1), 'GOAWAY 11 FLOW_CONTROL_ERROR')
  })
})

describe('a response', () => {
  test('begins with the size of our dynamic table, once for a connection', () => {
    const peer = Peer.ready()
    peer.send(headers(1, GET), headers(3, GET))
    assert.equal(peer.session.output.bytes.subarray(9, 11).toString('hex'), '2088')
    assert.equal(peer.session.output.bytes.subarray(20, 21).toString('hex'), '88')
  })

  test('waits for the window of the connection (H2-25)', () => {
    const peer = Peer.ready()
    peer.send(settings([INITIAL_WINDOW_SIZE, 1_000_000]), headers(1, WAIT), headers(3, WAIT))
    peer.received()
    peer.hearer(1).answer('x'.repeat(65_000))
    peer.hearer(3).answer('y'.repeat(1000))
    assert.deepEqual(peer.received().slice(-2), ['HEADERS 3 :status=200', 'DATA 3 535 octets'])
    peer.send(windowUpdate(0, 1000))
    assert.deepEqual(peer.received(), ['DATA 3 465 octets END_STREAM'])
  })

  test('streams, with trailers, as far as the client takes it', () => {
    const peer = Peer.ready()
    peer.send(headers(1, WAIT))
    const hearer = peer.hearer(1)
    hearer.stream.sendHeaders([[':status', '103']], false)
    hearer.begin(['x', 'y'])
    assert.equal(hearer.stream.write(Buffer.from('ab')), true)
    assert.equal(hearer.stream.write(Buffer.alloc(65_600)), true)
    assert.equal(hearer.stream.write(Buffer.alloc(65_536)), false)
    assert.ok(peer.session.held >= 65_536)
    hearer.stream.end([['x-sum', '1']])
    assert.equal(hearer.stream.write(Buffer.from('behind the end')), true)
    assert.equal(peer.received().at(-1), 'DATA 1 16381 octets')
    peer.send(windowUpdate(0, 1_000_000), windowUpdate(1, 1_000_000))
    assert.equal(peer.received().at(-1), 'HEADERS 1 x-sum=1 END_STREAM')
    assert.equal(peer.session.held, 0)
    assert.equal(peer.session.openStreams, 0)
  })

  test('who writes is told when there is room again', () => {
    const peer = Peer.ready()
    peer.send(headers(1, WAIT))
    const { stream } = peer.hearer(1)
    peer.hearer(1).begin()
    stream.write(Buffer.alloc(65_535))
    assert.equal(stream.write(Buffer.alloc(65_536)), false)
    peer.received()
    peer.send(windowUpdate(0, 40_000), windowUpdate(1, 40_000))
    peer.received()
    assert.equal(peer.log.includes('1 is writable'), false)
    peer.send(windowUpdate(0, 40_000), windowUpdate(1, 40_000))
    peer.received()
    assert.equal(peer.log.at(-1), '1 is writable')
  })

  test('shares the connection with others, frame by frame', () => {
    const peer = Peer.ready()
    peer.send(settings([INITIAL_WINDOW_SIZE, 0]), headers(1, WAIT), headers(3, WAIT))
    peer.hearer(1).answer('x'.repeat(40_000))
    peer.hearer(3).answer('y'.repeat(40_000))
    peer.received()
    peer.send(settings([INITIAL_WINDOW_SIZE, 100_000]), windowUpdate(0, 100_000))
    const streams = peer.received().map((answer) => answer.split(' ').slice(0, 2).join(' '))
    assert.deepEqual(streams, ['SETTINGS ACK', 'DATA 1', 'DATA 3', 'DATA 1', 'DATA 3', 'DATA 1', 'DATA 3'])
  })

  test('waits while the connection takes nothing, but what is short goes on', () => {
    const peer = Peer.ready()
    peer.send(headers(1, WAIT), headers(3, WAIT))
    peer.block()
    peer.hearer(1).begin()
    assert.equal(peer.hearer(1).stream.write(Buffer.alloc(1000)), true)
    peer.hearer(3).answer('short')
    assert.equal(peer.session.held, 1000)
    assert.deepEqual(peer.received(), ['HEADERS 1 :status=200', 'HEADERS 3 :status=200', 'DATA 3 "short" END_STREAM'])
    assert.deepEqual(peer.received(), ['DATA 1 1000 octets'])
  })

  test('may have a header section that is longer than a frame (H2-40)', () => {
    const peer = Peer.ready()
    peer.send(headers(1, WAIT))
    peer.hearer(1).stream.sendHeaders(
      [
        [':status', '200'],
        ['x', 'y'.repeat(40_000)],
      ],
      true,
    )
    assert.deepEqual(
      peer.received().map((answer) => answer.replace(/ \d+ octets| [^ ]+=.*(?= END)/, '')),
      ['HEADERS 1 END_STREAM …', 'CONTINUATION 1', 'CONTINUATION 1'],
    )
  })

  test('that cannot be completed is reset', () => {
    const peer = Peer.ready()
    peer.send(headers(1, WAIT))
    peer.hearer(1).begin()
    peer.hearer(1).stream.reset(2)
    assert.deepEqual(peer.received(), ['HEADERS 1 :status=200', 'RST_STREAM 1 INTERNAL_ERROR'])
  })
})

describe('the end of a connection', () => {
  test('drain(): GOAWAY twice, a round trip between them; what is open is answered (H2-09)', () => {
    const peer = Peer.ready()
    peer.send(headers(1, WAIT))
    peer.session.drain()
    peer.session.drain()
    assert.deepEqual(peer.received(), ['GOAWAY 2147483647 NO_ERROR', 'PING draining'])
    // it was on its way
    peer.send(headers(3, WAIT), ping('other   ', FrameFlag.ACK))
    assert.deepEqual(peer.received(), [])
    peer.send(ping('draining', FrameFlag.ACK))
    assert.deepEqual(peer.received(), ['GOAWAY 3 NO_ERROR'])
    // ignored, but decoded, and its content counted (H2-10)
    const literal = Buffer.concat([block(GET), Buffer.from('4001610162', 'hex')])
    peer.send(frame(HEADERS, END_HEADERS, 5, literal), data(5, 'x', END_STREAM))
    peer.send(frame(HEADERS, END_HEADERS, 7, literal), data(7, 'x'), headers(7, [['x', 'y']]))
    peer.hearer(1).answer('1')
    assert.equal(peer.session.hasEnded, false)
    peer.hearer(3).answer('3')
    assert.deepEqual(peer.received(), [
      'HEADERS 1 :status=200',
      'DATA 1 "1" END_STREAM',
      'HEADERS 3 :status=200',
      'DATA 3 "3" END_STREAM',
      'GOAWAY 3 NO_ERROR',
    ])
    assert.equal(peer.session.hasEnded, true)
  })

  test('drain() does not wait for a client that says nothing', () => {
    const peer = Peer.ready()
    peer.session.drain()
    peer.received()
    peer.session.check(1999)
    assert.equal(peer.session.hasEnded, false)
    peer.session.check(2000)
    assert.equal(peer.received().at(-1), 'GOAWAY 0 NO_ERROR')
    assert.equal(peer.session.hasEnded, true)
  })

  test('a client that says GOAWAY gets its answers (H2-11)', () => {
    const peer = Peer.ready()
    peer.send(headers(1, WAIT), goaway(0, 0))
    assert.equal(peer.session.hasEnded, false)
    peer.hearer(1).answer('x')
    assert.deepEqual(peer.received(), ['HEADERS 1 :status=200', 'DATA 1 "x" END_STREAM', 'GOAWAY 1 NO_ERROR'])
  })

  test('end() says GOAWAY (H2-12)', () => {
    const peer = Peer.ready()
    peer.session.end()
    peer.session.end()
    assert.deepEqual(peer.received(), ['GOAWAY 0 NO_ERROR'])
  })

  test('abort() tells those who serve', () => {
    const peer = Peer.ready()
    peer.send(headers(1, WAIT))
    peer.session.abort()
    assert.equal(peer.log.at(-1), '1 is aborted')
    peer.hearer(1).answer('late')
    assert.deepEqual(peer.received(), [])
  })
})
