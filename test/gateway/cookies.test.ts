import assert from 'node:assert/strict'
import test, { describe, mock } from 'node:test'
import { TRANSPORTS } from '../../dns/contracts.ts'
import { ServerCookies } from '../../dns/server-cookies.ts'
import { client, hex, question, vector } from '../harness/messages.ts'
import { ask, counts, flags, optOf, rcode, replyTo } from '../harness/pipeline.ts'

const CLIENT = '2464c4abcf10c957'
const cookies = new ServerCookies([hex('e5e973e5a6b2a43f48e7dc849e37bfcf')])
const option = (cookie: string) => `000a${(cookie.length / 2).toString(16).padStart(4, '0')}${cookie}`
const asking = (opt: string, type = 1) => question({ name: 'www.example.com', opt, type })
/** A header and an OPT record, which has these options. */
const noQuestion = (opt: string) => Buffer.concat([hex('1234 0100 0000 0000 0000 0001'), question({ name: '.', opt }).subarray(17)])

/** Data of the COOKIE option, hexadecimal; null without one. */
function cookieOf(message: Buffer): string | null {
  const at = optOf(message)
  const found = at < 0 ? -1 : message.indexOf(hex('000a'), at + 11)
  return found < 0 ? null : message.toString('hex', found + 4, found + 4 + message.readUInt16BE(found + 2))
}

mock.timers.enable({ apis: ['Date'], now: 0x5cf7_9f11 * 1000 })

/** What a client has after its first query, and the same with another bit. */
const LEARNED = cookieOf(replyTo(asking(option(CLIENT)), client('udp'), cookies)) ?? ''
const FORGED = LEARNED.slice(0, -1) + (LEARNED.endsWith('f') ? '0' : 'f')

describe('a DNS cookie (RFC 7873)', () => {
  test('is made for who has a client cookie, on every transport', () => {
    for (const transport of Object.keys(TRANSPORTS) as (keyof typeof TRANSPORTS)[]) {
      const reply = replyTo(asking(option(CLIENT)), client(transport), cookies)
      assert.deepEqual([rcode(reply), cookieOf(reply)?.length, cookieOf(reply)?.slice(0, 24)], [0, 48, `${CLIENT}01000000`], transport)
    }
  })

  test('that is ours comes back', () => {
    assert.equal(cookieOf(replyTo(asking(option(LEARNED)), client('udp'), cookies)), LEARNED)
  })

  test('that is not ours is answered with one that is (CK-04)', () => {
    const reply = replyTo(asking(option(FORGED)), client('udp'), cookies)
    assert.deepEqual([rcode(reply), cookieOf(reply)], [0, LEARNED])
  })

  test('is not seen when cookies are off', () => {
    assert.equal(cookieOf(replyTo(asking(option(CLIENT)), client('udp'))), null)
  })

  test('is sent to nobody who has none', () => {
    assert.equal(cookieOf(replyTo(asking(''), client('udp'), cookies)), null)
    assert.equal(cookieOf(replyTo(question({ name: 'www.example.com' }), client('udp'), cookies)), null)
  })

  test('counts when it is the first of several', () => {
    const reply = replyTo(asking(option(CLIENT) + option('ff'.repeat(8))), client('udp'), cookies)
    assert.equal(cookieOf(reply), LEARNED)
    assert.equal(reply.indexOf(hex('000a'), reply.indexOf(hex('000a')) + 2), -1)
  })

  test('is in errors too', () => {
    const reply = replyTo(asking(option(CLIENT), 252), client('udp'), cookies)
    assert.deepEqual([rcode(reply), cookieOf(reply)], [5, LEARNED])
  })

  test('is padded behind', () => {
    const reply = replyTo(asking(option(CLIENT)), client('dot'), cookies)
    assert.equal(reply.length, 468)
    assert.ok(reply.indexOf(hex('000c'), optOf(reply)) > reply.indexOf(hex('000a'), optOf(reply)))
  })

  test('belongs to an address', () => {
    const elsewhere = client('udp', { octets: hex('00000000000000000000ffffc6336464') })
    assert.notEqual(cookieOf(replyTo(asking(option(LEARNED)), elsewhere, cookies)), LEARNED)
  })
})

describe('a message without a question (RFC 7873 §5.4)', () => {
  test('is answered with a cookie', () => {
    for (const [wire, id] of [
      [noQuestion(option(CLIENT)), 0x1234],
      [vector('V08'), vector('V08').readUInt16BE(0)],
    ] as const) {
      const reply = replyTo(wire, client('udp'), cookies)
      assert.deepEqual([reply.readUInt16BE(0), flags(reply), counts(reply)], [id, 0x8180, [0, 0, 0, 1]])
      assert.equal(cookieOf(reply)?.length, 48)
    }
  })

  test('that has the cookie already is answered', () => {
    const reply = replyTo(noQuestion(option(LEARNED)), client('udp'), cookies)
    assert.deepEqual([rcode(reply), cookieOf(reply)], [0, LEARNED])
  })

  test('with a cookie that is not ours is BADCOOKIE, with one that is', () => {
    const reply = replyTo(noQuestion(option(FORGED)), client('udp'), cookies)
    const extended = reply[optOf(reply) + 5] ?? 0
    assert.deepEqual([(extended << 4) | rcode(reply), cookieOf(reply)], [23, LEARNED])
  })

  test('is FORMERR without a cookie, when cookies are off, and when anything else is in it', () => {
    for (const [wire, jar] of [
      [noQuestion(''), cookies],
      [vector('V07'), cookies],
      [noQuestion(option(CLIENT)), undefined],
      [noQuestion(option('00'.repeat(9))), cookies],
      [Buffer.concat([noQuestion(option(CLIENT)), hex('dead')]), cookies],
    ] as const) {
      assert.equal(rcode(replyTo(wire, client('udp'), jar)), 1, wire.toString('hex'))
    }
  })

  test('is never forwarded', () => {
    assert.equal(ask(noQuestion(option(CLIENT)), client('udp'), cookies).forwarded, null)
  })
})
