import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Field } from '../../../net/fields.ts'
import { FrameFlag, FrameType } from '../../../transports/http2/codes.ts'
import { HTTP2_LIMITS } from '../../../transports/http2/limits.ts'
import { PREFACE } from '../../../transports/http2/session.ts'
import { block, data, frame, GET, headers, POST, ping, rst, SETTINGS, SETTINGS_ACK, settings, windowUpdate } from './frames.ts'
import { Peer } from './peer.ts'

const { HEADERS, PRIORITY, CONTINUATION } = FrameType
const { END_STREAM, END_HEADERS } = FrameFlag
const WAIT = GET.with(3, [':path', '/wait'])
const UPLOAD = POST.with(3, [':path', '/wait'])
const INITIAL_WINDOW_SIZE = 4
const CALM = 'ENHANCE_YOUR_CALM'

/** Does something many times, one turn of the event loop after the other: how often until the connection ends. */
function timesUntilEnd(peer: Peer, act: (i: number) => void): number {
  for (let i = 0; i < 20_000; i++) {
    act(i)
    if (peer.session.hasEnded) return i
    peer.received()
  }
  return Number.POSITIVE_INFINITY
}

function assertEnded(peer: Peer, failure: string, code: string = CALM): void {
  assert.match(peer.received().at(-1) ?? '', new RegExp(`^GOAWAY \\d+ ${code}$`))
  assert.equal(
    peer.log.findLast((line) => line.startsWith('dropped')),
    `dropped: ${failure}`,
  )
}

describe('resets (H2-60, H2-61)', () => {
  test('rapid reset: more than a hundred within a second (CVE-2023-44487)', () => {
    const peer = Peer.ready()
    const times = timesUntilEnd(peer, (i) => peer.send(headers(2 * i + 1, WAIT), rst(2 * i + 1)))
    assert.equal(times, 100)
    assertEnded(peer, 'cancel_flood')
  })

  test('a slow one: more than twice the completed requests, and two hundred', () => {
    const peer = Peer.ready()
    const times = timesUntilEnd(peer, (i) => {
      peer.now += 20
      peer.send(headers(4 * i + 1, WAIT), rst(4 * i + 1), headers(4 * i + 3, GET))
    })
    // one is completed for each that is reset
    assert.equal(times, Number.POSITIVE_INFINITY)
    const idle = Peer.ready()
    const all = timesUntilEnd(idle, (i) => {
      idle.now += 20
      idle.send(headers(2 * i + 1, WAIT), rst(2 * i + 1))
    })
    assert.equal(all, 200)
    assertEnded(idle, 'cancel_flood')
  })

  test('a browser that leaves a page resets a few', () => {
    const peer = Peer.ready()
    for (let i = 0; i < 50; i++) peer.send(headers(2 * i + 1, WAIT), rst(2 * i + 1))
    peer.now += 1000
    for (let i = 50; i < 100; i++) peer.send(headers(2 * i + 1, WAIT), rst(2 * i + 1))
    assert.equal(peer.session.hasEnded, false)
  })

  const made: Readonly<Record<string, (peer: Peer, id: number) => void>> = {
    'WINDOW_UPDATE by 0': (peer, id) => peer.send(headers(id, WAIT), windowUpdate(id, 0)),
    'a window that is too large': (peer, id) => peer.send(headers(id, WAIT), windowUpdate(id, 2 ** 31 - 1)),
    'DATA behind the end': (peer, id) => peer.send(headers(id, WAIT), data(id, 'x')),
    'a wrong content-length': (peer, id) => peer.send(headers(id, [...UPLOAD, ['content-length', '1']], 0), data(id, 'xy')),
    'a malformed request': (peer, id) => peer.send(headers(id, [...GET, ['connection', 'x']])),
  }
  for (const [what, act] of Object.entries(made)) {
    test(`the client makes us reset: ${what} (CVE-2025-8671)`, () => {
      const peer = Peer.ready()
      assert.equal(
        timesUntilEnd(peer, (i) => act(peer, 2 * i + 1)),
        100,
      )
      assertEnded(peer, 'http2_own_resets')
    })
  }
})

describe('field blocks (H2-41, H2-42)', () => {
  test('nine CONTINUATION frames are too many (VU#421644)', () => {
    const peer = Peer.ready()
    peer.send(frame(HEADERS, END_STREAM, 1, block(GET)))
    for (let i = 0; i < 8; i++) peer.send(frame(CONTINUATION, 0, 1, block([['x', 'y']])))
    assert.equal(peer.session.hasEnded, false)
    peer.send(frame(CONTINUATION, 0, 1, block([['x', 'y']])))
    assertEnded(peer, 'http2_continuation_flood')
  })

  test('an empty one is too many', () => {
    const peer = Peer.ready()
    peer.send(frame(HEADERS, END_STREAM, 1, block(GET)), frame(CONTINUATION, 0, 1))
    assertEnded(peer, 'http2_continuation_flood')
  })

  test('32 KiB are enough', () => {
    const large = Buffer.alloc(16_384)
    const peer = Peer.ready()
    peer.send(frame(HEADERS, END_STREAM, 1, large), frame(CONTINUATION, 0, 1, large))
    assert.equal(peer.session.hasEnded, false)
    peer.send(frame(CONTINUATION, 0, 1, Buffer.alloc(1)))
    assertEnded(peer, 'http2_continuation_flood')
  })

  test('one that does not end has ten seconds', () => {
    const peer = Peer.ready()
    peer.send(frame(HEADERS, END_STREAM, 1, block(GET)))
    assert.equal(peer.session.needsCheck, true)
    peer.session.check(10_999)
    assert.equal(peer.session.hasEnded, false)
    peer.session.check(11_000)
    assertEnded(peer, 'http2_continuation_flood')
  })

  test('a list of more than 16 KiB is 431, and decoded all the same', () => {
    const many = Array.from({ length: 200 }, (_, i): Field => [`x-${i}`, 'y'.repeat(60)])
    const peer = Peer.ready()
    const indexed = Buffer.concat([block([...GET, ...many]), Buffer.from('4001610162', 'hex')])
    peer.send(frame(HEADERS, END_STREAM, 1, indexed.subarray(0, 8000)), frame(CONTINUATION, END_HEADERS, 1, indexed.subarray(8000)))
    assert.deepEqual(peer.received(), ['HEADERS 1 :status=431 END_STREAM'])
    peer.send(frame(HEADERS, END_STREAM | END_HEADERS, 3, Buffer.concat([block(GET), Buffer.from('be', 'hex')])))
    assert.deepEqual(peer.received(), ['HEADERS 3 :status=200 END_STREAM'])
  })

  test('an HPACK bomb is 431 too: a few octets that mean a megabyte', () => {
    const peer = Peer.ready()
    const entry = Buffer.concat([Buffer.from('4001617fa11e', 'hex'), Buffer.alloc(4000, 'x')])
    const bomb = Buffer.concat([block(GET), entry, Buffer.alloc(300, 0xbe)])
    peer.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, bomb))
    assert.deepEqual(peer.received(), ['HEADERS 1 :status=431 END_STREAM'])
  })
})

describe('frames that cost more than they mean (H2-62, H2-63, H2-65)', () => {
  const floods: Readonly<Record<string, readonly [act: (peer: Peer, i: number) => void, times: number, failure: string]>> = {
    PING: [(peer) => peer.send(ping('12345678')), 100, 'http2_ping_flood'],
    // the handshake had one
    SETTINGS: [(peer) => peer.send(SETTINGS), 99, 'http2_settings_flood'],
    PRIORITY: [(peer) => peer.send(frame(PRIORITY, 0, 1, Buffer.alloc(5))), 100, 'http2_idle_frames'],
    'frames of unknown types': [(peer) => peer.send(frame(0xbb, 0, 0)), 100, 'http2_idle_frames'],
    'DATA without content': [(peer) => peer.send(data(1, '')), 100, 'http2_empty_frames'],
    WINDOW_UPDATE: [(peer) => peer.send(windowUpdate(0, 1)), 1000, 'http2_window_flood'],
  }
  for (const [what, [act, times, failure]] of Object.entries(floods)) {
    test(what, () => {
      const peer = Peer.ready()
      peer.send(headers(1, UPLOAD, 0))
      assert.equal(
        timesUntilEnd(peer, (i) => act(peer, i)),
        times,
      )
      assertEnded(peer, failure)
    })

    test(`${what}, now and then`, () => {
      const peer = Peer.ready()
      peer.send(headers(1, UPLOAD, 0))
      for (let i = 0; i < 3 * times; i++) {
        peer.now += 101
        act(peer, i)
        peer.received()
      }
      assert.equal(peer.session.hasEnded, false)
    })
  }

  for (const [what, message, failure] of [
    ['PING', ping('12345678'), 'http2_ping_flood'],
    ['SETTINGS', SETTINGS, 'http2_settings_flood'],
  ] as const) {
    test(`${what}: ten answers may wait for a client that reads nothing (CVE-2019-9512, 9515)`, () => {
      const peer = Peer.ready()
      for (let i = 0; i < 10; i++) peer.send(message)
      assert.equal(peer.session.hasEnded, false)
      peer.send(message)
      assertEnded(peer, failure)
    })
  }

  test('a WINDOW_UPDATE for every kilobyte and two for every response are no flood', () => {
    const peer = Peer.ready()
    for (let i = 0; i < 5000; i++) {
      peer.send(headers(2 * i + 1, WAIT))
      peer.hearer(2 * i + 1).answer('x'.repeat(1024))
      peer.received()
      peer.send(windowUpdate(0, 512), windowUpdate(0, 512), windowUpdate(2 * i + 1, 1024))
    }
    assert.equal(peer.session.hasEnded, false)
  })
})

describe('streams (H2-22, H2-23)', () => {
  test('the hundred and first is refused, and may be tried again', () => {
    const peer = Peer.ready()
    for (let i = 0; i < 101; i++) peer.send(headers(2 * i + 1, WAIT))
    assert.deepEqual(peer.received(), ['RST_STREAM 201 REFUSED_STREAM'])
    assert.equal(peer.log.at(-1), 'dropped: http2_too_many_streams')
    assert.equal(peer.hearers.size, 100)
    peer.hearer(1).answer('')
    peer.send(headers(203, GET))
    assert.equal(peer.received().at(-1), 'HEADERS 203 :status=200 END_STREAM')
  })

  test('who goes on beyond the limit that it knows makes us reset streams', () => {
    const peer = Peer.ready({ maxStreams: 1 })
    peer.send(headers(1, WAIT))
    assert.equal(
      timesUntilEnd(peer, (i) => peer.send(headers(2 * i + 3, WAIT))),
      100,
    )
    assertEnded(peer, 'http2_own_resets')
  })

  test('who does not know it yet is only refused', () => {
    const peer = new Peer({ maxStreams: 1 })
    peer.send(PREFACE, SETTINGS)
    for (let i = 0; i < 500; i++) peer.send(headers(2 * i + 1, WAIT))
    assert.equal(peer.session.hasEnded, false)
  })

  test('is refused while the work of those that were reset goes on', () => {
    const peer = Peer.ready()
    peer.mayAccept = false
    peer.send(headers(1, GET))
    assert.deepEqual(peer.received(), ['RST_STREAM 1 REFUSED_STREAM'])
    assert.equal(peer.hearers.size, 0)
  })

  test('is refused while a megabyte waits for the client (H2-64, CVE-2019-9517)', () => {
    const peer = Peer.ready()
    peer.send(settings([INITIAL_WINDOW_SIZE, 0]))
    let id = 1
    for (; peer.session.held <= HTTP2_LIMITS.maxHeldOutput; id += 2) {
      peer.send(headers(id, WAIT))
      peer.hearer(id).answer('x'.repeat(65_535))
    }
    peer.received()
    peer.send(headers(id, GET))
    assert.deepEqual(peer.received(), [`RST_STREAM ${id} REFUSED_STREAM`])
    peer.send(windowUpdate(1, 65_535))
    assert.equal(peer.received().at(-1), 'DATA 1 16383 octets END_STREAM')
    peer.send(headers(id + 2, GET))
    assert.deepEqual(peer.received(), [`HEADERS ${id + 2} :status=200 END_STREAM`])
  })
})

describe('clients that take their time', () => {
  test('windows of one octet: each response has thirty seconds for the next one (H2-64)', () => {
    const peer = Peer.ready()
    peer.send(settings([INITIAL_WINDOW_SIZE, 1]), headers(1, WAIT))
    peer.hearer(1).answer('xyz')
    peer.received()
    assert.equal(peer.session.needsCheck, true)
    peer.now = 30_000
    peer.send(windowUpdate(1, 1))
    peer.received()
    peer.session.check(59_999)
    assert.deepEqual(peer.received(), [])
    peer.session.check(60_000)
    assert.deepEqual(peer.received(), ['RST_STREAM 1 CANCEL'])
    assert.deepEqual(peer.log.slice(-2), ['dropped: slow_reader', '1 is aborted'])
    assert.equal(peer.session.held, 0)
  })

  test('SETTINGS that are never acknowledged: ten seconds (H2-68)', () => {
    const peer = new Peer()
    peer.send(PREFACE, SETTINGS)
    assert.ok(peer.watched > 0)
    peer.session.check(10_999)
    assert.equal(peer.session.hasEnded, false)
    peer.session.check(11_000)
    assertEnded(peer, 'http2_settings_timeout', 'SETTINGS_TIMEOUT')
  })

  test('a preface that does not come: ten seconds', () => {
    const peer = new Peer()
    peer.send(PREFACE)
    peer.session.check(11_000)
    assertEnded(peer, 'http2_settings_timeout', 'PROTOCOL_ERROR')
  })

  test('once nothing is under way, nothing needs to be looked at', () => {
    const peer = new Peer()
    peer.send(PREFACE, SETTINGS, SETTINGS_ACK, headers(1, GET))
    assert.equal(peer.session.needsCheck, false)
    peer.session.check(1e9)
    assert.equal(peer.session.hasEnded, false)
  })
})
