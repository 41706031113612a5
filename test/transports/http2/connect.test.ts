import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { FrameFlag } from '../../../transports/http2/codes.ts'
import { PREFACE } from '../../../transports/http2/session.ts'
import { data, GET, headers, rst, SETTINGS } from './frames.ts'
import { Peer } from './peer.ts'

const CHAT = [[':method', 'CONNECT'], [':protocol', 'websocket'], ...GET.slice(1, 3), [':path', '/chat']] as const

test('RFC 8441: CONNECT with a protocol, where it was offered', () => {
  const peer = new Peer({ connects: true })
  assert.equal(peer.received()[0], 'SETTINGS 000300000064000600004000000900000001000800000001')
  peer.send(PREFACE, SETTINGS)
  peer.send(headers(1, [[':method', 'CONNECT'], [':protocol', 'websocket'], ...GET.slice(1)], 0))
  assert.equal(peer.hearer(1).request, 'CONNECT /')
  peer.send(headers(3, GET.with(0, [':method', 'GET']).concat([[':protocol', 'websocket']])))
  assert.equal(peer.received().at(-1), 'RST_STREAM 3 PROTOCOL_ERROR')
})

test('CONNECT without one is a request like others (H2-56)', () => {
  const peer = Peer.ready()
  peer.send(
    headers(
      1,
      [
        [':method', 'CONNECT'],
        [':authority', 'dns.example:443'],
      ],
      0,
    ),
  )
  assert.equal(peer.hearer(1).request, 'CONNECT ')
})

describe('a tunnel (RFC 8441 §5)', () => {
  function open(): Peer {
    const peer = Peer.ready({ connects: true })
    peer.send(headers(1, CHAT, 0))
    peer.hearer(1).stream.isTunnel = true
    peer.hearer(1).begin()
    peer.received()
    return peer
  }

  test('whose server has ended takes what the client still says, and ends with it', () => {
    const peer = open()
    peer.hearer(1).stream.end([])
    assert.deepEqual(peer.received(), ['DATA 1 "" END_STREAM'])
    peer.send(data(1, 'bye'))
    assert.equal(peer.hearer(1).content, 'bye')
    assert.equal(peer.session.openStreams, 1)
    peer.send(data(1, '!', FrameFlag.END_STREAM))
    assert.equal(peer.log.at(-1), 'end of 1: 4 octets')
    assert.equal(peer.session.openStreams, 0)
    assert.deepEqual(peer.received(), [])
  })

  test('whose client has ended says what it still has, and ends with it', () => {
    const peer = open()
    peer.send(data(1, 'bye', FrameFlag.END_STREAM))
    peer.hearer(1).stream.write(Buffer.from('so long'))
    peer.hearer(1).stream.end([])
    assert.deepEqual(peer.received(), ['DATA 1 "so long"', 'DATA 1 "" END_STREAM'])
    assert.equal(peer.session.openStreams, 0)
  })

  test('of which one direction has ended may be reset', () => {
    const peer = open()
    peer.hearer(1).stream.end([])
    peer.send(rst(1))
    assert.equal(peer.log.at(-1), '1 is aborted')
    assert.equal(peer.session.openStreams, 0)
  })

  test('that was refused is a response like others: what comes behind it is not wanted', () => {
    const peer = Peer.ready({ connects: true })
    peer.send(headers(1, CHAT, 0))
    peer.hearer(1).stream.sendHeaders([[':status', '403']], true)
    assert.equal(peer.received().at(-1), 'RST_STREAM 1 NO_ERROR')
  })
})
