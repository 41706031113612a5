import assert from 'node:assert/strict'
import { isIP } from 'node:net'
import test from 'node:test'
import fc from 'fast-check'
import {
  canonicalAddress,
  formatAddress,
  isWildcard,
  PrefixSet,
  parseAddress,
  parseEndpoint,
  parsePrefix,
  reverseName,
} from '../../net/address.ts'

const set = (...prefixes: string[]) => new PrefixSet(prefixes.map((text) => parsePrefix(text)).filter((prefix) => prefix !== null))
const has = (prefixes: PrefixSet, address: string) => prefixes.has(parseAddress(address) ?? new Uint8Array(16))

test('parseAddress() accepts exactly what node:net takes for an IP address', () => {
  const octet = fc.integer({ min: 0, max: 300 }).map(String)
  const v4 = fc.array(octet, { minLength: 3, maxLength: 5 }).map((parts) => parts.join('.'))
  const group = fc.integer({ min: 0, max: 0x1ffff }).map((value) => value.toString(16))
  const v6 = fc.array(fc.oneof(group, fc.constant('')), { minLength: 2, maxLength: 9 }).map((parts) => parts.join(':'))
  fc.assert(
    fc.property(fc.oneof(v4, v6, fc.string({ maxLength: 20 })), (text) => {
      fc.pre(!text.includes('%'))
      assert.equal(parseAddress(text) !== null, isIP(text) !== 0, text)
    }),
    { numRuns: 5000 },
  )
})

test('formatAddress() writes the canonical form of RFC 5952', () => {
  for (const [text, canonical] of [
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['::1', '::1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ] as const) {
    assert.equal(canonicalAddress(text), canonical)
  }
  const bytes = fc.uint8Array({ minLength: 16, maxLength: 16 })
  fc.assert(fc.property(bytes, (address) => assert.deepEqual(parseAddress(formatAddress(address)), address)))
})

test('PrefixSet compares exactly the bits of the prefix', () => {
  const prefixes = set('10.0.0.0/8', '192.0.2.128/25', '2001:db8::/33', '198.51.100.7')
  for (const inside of ['10.255.255.255', '192.0.2.128', '192.0.2.255', '2001:db8:7fff::1', '198.51.100.7'])
    assert.ok(has(prefixes, inside), inside)
  for (const outside of ['11.0.0.0', '9.255.255.255', '192.0.2.127', '2001:db8:8000::', '198.51.100.6', '::10.0.0.1'])
    assert.ok(!has(prefixes, outside), outside)
})

test('PrefixSet treats a mapped IPv4 address as IPv4', () => {
  assert.ok(has(set('10.0.0.0/8'), '::ffff:10.1.2.3'))
  assert.ok(has(set('0.0.0.0/0'), '203.0.113.1'))
  assert.ok(!has(set('0.0.0.0/0'), '2001:db8::1'))
  assert.ok(!has(set('::/0'), '192.0.2.1'))
  assert.ok(has(set('::/0'), '2001:db8::1'))
})

test('parsePrefix() refuses lengths that cannot be and bits beyond the prefix', () => {
  for (const text of [
    '10.0.0.0/33',
    '::/129',
    '10.0.0.1/8',
    '2001:db8::1/64',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.0/-1',
    'x/8',
    '',
    'fe80::1%eth0',
  ]) {
    assert.equal(parsePrefix(text), null, text)
  }
})

test('parseEndpoint() wants an IP address and a port, IPv6 in brackets', () => {
  assert.deepEqual(parseEndpoint('127.0.0.1:53'), { host: '127.0.0.1', port: 53 })
  assert.deepEqual(parseEndpoint('[::1]:0'), { host: '::1', port: 0 })
  for (const text of [
    '127.0.0.1',
    '::1:53',
    '[127.0.0.1]:53',
    'localhost:53',
    '127.0.0.1:65536',
    '127.0.0.1:',
    '[::1]',
    ':53',
    '1.2.3:53',
  ]) {
    assert.equal(parseEndpoint(text), null, text)
  }
})

test('isWildcard() knows the two addresses that mean all', () => {
  assert.deepEqual(['0.0.0.0', '::', '127.0.0.1', '::1', '0.0.0.1'].map(isWildcard), [true, true, false, false, false])
})

test('reverseName() is the name of an address in the DNS', () => {
  for (const [address, name] of [
    ['192.0.2.1', '1.2.0.192.in-addr.arpa'],
    ['::ffff:192.0.2.255', '255.2.0.192.in-addr.arpa'],
    // RFC 3596 §2.5
    ['4321:0:1:2:3:4:567:89ab', 'b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa'],
  ] as const) {
    assert.equal(reverseName(parseAddress(address) ?? new Uint8Array(16)), name)
  }
})
