import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import fc from 'fast-check'
import { type Client, NO_KEEPALIVE, TRANSPORTS } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import { PrefixSet, parseAddress } from '../../net/address.ts'
import { ConnectionClient } from '../../transports/doh/connection-client.ts'
import { CONTRADICTION, forwardedAddress } from '../../transports/doh/forwarded.ts'
import { DohRules, NO_OFFER, type RequestHead } from '../../transports/doh/request.ts'
import { prefixes } from '../harness/gateway.ts'

const PEER = '192.0.2.1'
const TRUSTED = new PrefixSet(prefixes('192.0.2.0/24', '2001:db8:1::/48'))

function headOf(fields: Partial<RequestHead>): RequestHead {
  const absent = {
    contentType: '',
    contentEncoding: '',
    contentLength: -1,
    accept: '',
    forwardedFor: '',
    forwarded: '',
    earlyData: '',
    protocol: '',
  }
  return { method: 'GET', target: '/', authority: 'localhost', ...absent, ...fields }
}

const from = (fields: Partial<RequestHead>) => forwardedAddress(headOf(fields), PEER, TRUSTED)

describe('X-Forwarded-For', () => {
  for (const [value, client] of Object.entries({
    '203.0.113.7': '203.0.113.7',
    ' 198.51.100.1 , 203.0.113.7 ': '203.0.113.7',
    '203.0.113.7:4711': '203.0.113.7',
    '2001:db8::7': '2001:db8::7',
    '[2001:db8::7]': '2001:db8::7',
    '[2001:DB8:0::7]:443': '2001:db8::7',
    '::ffff:203.0.113.7': '203.0.113.7',
    '203.0.113.7, 192.0.2.9': '203.0.113.7',
    '203.0.113.7, 2001:db8:1::5, 192.0.2.9': '203.0.113.7',
    // who stands before a stranger is what the stranger says
    '203.0.113.9, 203.0.113.7, 192.0.2.9': '203.0.113.7',
    '192.0.2.8, 192.0.2.9': '192.0.2.8',
    'unknown, 192.0.2.9': '192.0.2.9',
    '203.0.113.7, unknown': PEER,
    '203.0.113.7,': PEER,
    'fe80::1%eth0': PEER,
    '203.0.113.256': PEER,
    '203.0.113.7 203.0.113.8': PEER,
  })) {
    test(`"${value}" is ${client}`, () => assert.equal(from({ forwardedFor: value }), client))
  }
})

describe('Forwarded (RFC 7239)', () => {
  for (const [value, client] of Object.entries({
    'for=203.0.113.7': '203.0.113.7',
    'For="203.0.113.7:47011";proto=https;by=192.0.2.9': '203.0.113.7',
    'proto=https; FOR = 203.0.113.7': null,
    'by=192.0.2.9;for="[2001:db8::7]:99"': '2001:db8::7',
    'for="[2001:db8::7]", for=192.0.2.9;host="a,b;for=203.0.113.1"': '2001:db8::7',
    'for="203.0.113\\.7"': '203.0.113.7',
    'for=_hidden, for=192.0.2.9': '192.0.2.9',
    'for=203.0.113.7, for=unknown': PEER,
    'for=203.0.113.7, proto=https': PEER,
    'notfor=203.0.113.7': null,
    'for=203.0.113.7;for=203.0.113.8': null,
    'for="203.0.113.7"8': null,
    '"for=203.0.113.7"': null,
    'x="a;for=203.0.113.1";for=203.0.113.7': '203.0.113.7',
    'for="203.0.113.7': null,
    '': null,
  })) {
    test(`'${value}' is ${client}`, () => assert.equal(from({ forwarded: value }), client))
  }
})

test('two fields that name different clients contradict each other', () => {
  assert.equal(from({ forwardedFor: '203.0.113.7', forwarded: 'for=203.0.113.8' }), CONTRADICTION)
  assert.equal(from({ forwardedFor: '203.0.113.7', forwarded: 'for="203.0.113.7:1"' }), '203.0.113.7')
  assert.equal(from({ forwardedFor: '203.0.113.7', forwarded: 'proto=https' }), '203.0.113.7')
})

test('nothing that is written there throws, takes long, or gives anything but an address', () => {
  const words = fc.constantFrom('for=', '"', '\\', ',', ';', '203.0.113.7', '[', ']', ':', ' ', 'for', '=', 'x')
  const anything = fc.oneof(
    fc.string(),
    fc.array(words, { maxLength: 40 }).map((all) => all.join('')),
  )
  fc.assert(
    fc.property(anything, anything, (forwardedFor, forwarded) => {
      const client = from({ forwardedFor, forwarded })
      assert.ok(client === null || client === CONTRADICTION || parseAddress(client) !== null)
    }),
  )
  for (const piece of ['"', '\\"', 'for="', 'for="\\', ';', ',', 'a', ' ', '"a', 'for=;', '\t']) {
    const started = performance.now()
    from({ forwarded: piece.repeat(16_384 / piece.length), forwardedFor: piece.repeat(16_384 / piece.length) })
    // quadratic would be seconds
    assert.ok(performance.now() - started < 500, JSON.stringify(piece))
  }
})

describe('the client of a connection', () => {
  const client: Client = {
    traits: TRANSPORTS.doh2,
    address: PEER,
    octets: parseAddress(PEER) as Uint8Array,
    port: 4711,
    holder: null,
    refusal: Failure.access_denied,
    keepalive: NO_KEEPALIVE,
  }
  const trusting = new DohRules({ ...NO_OFFER, trustedProxies: TRUSTED }, { covers: () => true, web: null })
  const terms = { access: { has: (address: Uint8Array) => address[15] === 7 } }

  test('is who the proxy names, each time anew, admitted by the list of the listener', () => {
    const origin = new ConnectionClient(client, terms)
    const named = origin.of(headOf({ forwardedFor: '203.0.113.7' }), trusting)
    assert.deepEqual([named?.address, named?.port, named?.refusal], ['203.0.113.7', 0, null])
    assert.equal(origin.of(headOf({ forwardedFor: '203.0.113.7' }), trusting), named)
    assert.equal(origin.of(headOf({ forwardedFor: '203.0.113.8' }), trusting)?.refusal, Failure.access_denied)
    assert.equal(origin.of(headOf({}), trusting), client)
    assert.equal(origin.of(headOf({ forwardedFor: '203.0.113.7', forwarded: 'for=203.0.113.8' }), trusting), null)
  })

  test('is itself when it is not trusted, whatever it says, and from the moment that it is not', () => {
    const origin = new ConnectionClient(client, terms)
    const distrusting = new DohRules(NO_OFFER, { covers: () => true, web: null })
    assert.equal(origin.of(headOf({ forwardedFor: '203.0.113.7', forwarded: 'for=203.0.113.8' }), distrusting), client)
    assert.equal(origin.of(headOf({ forwardedFor: '203.0.113.7' }), trusting)?.address, '203.0.113.7')
    assert.equal(origin.of(headOf({ forwardedFor: '203.0.113.7' }), distrusting), client)
  })
})
