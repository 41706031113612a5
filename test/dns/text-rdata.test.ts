import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import fc from 'fast-check'
import { parseType } from '../../dns/mnemonics.ts'
import { rdataText } from '../../dns/text-rdata.ts'
import { hex, wireName } from '../harness/messages.ts'

const NAME = wireName('ns.example').toString('hex')

/** The text of `octets` (hex) as the RDATA of a record, alone in its message. */
function text(mnemonic: string, octets: string, klass = 1): string {
  const rdata = hex(octets)
  return rdataText(rdata, { type: parseType(mnemonic) ?? Number.NaN, class: klass, rdata: 0, end: rdata.length })
}

const KEY = '0102030405060708090a'
const HASH = '00112233445566778899aabbccddeeff00112233'

/** The texts are what dig 9.18 prints, and kdig 3.2.6 up to letter case, less the spaces that dig puts into long data. */
const ROWS: readonly (readonly [mnemonic: string, octets: string, text: string])[] = [
  ['A', 'c0000201', '192.0.2.1'],
  ['NS', NAME, 'ns.example.'],
  ['CNAME', NAME, 'ns.example.'],
  ['SOA', `${NAME}${NAME} 00000001 00000002 00000003 00000004 ffffffff`, 'ns.example. ns.example. 1 2 3 4 4294967295'],
  ['PTR', NAME, 'ns.example.'],
  ['HINFO', '03 435055 05 4f53202233', '"CPU" "OS \\"3"'],
  ['MX', `000a ${NAME}`, '10 ns.example.'],
  ['TXT', '03 612062 00 04 5c1bff7e', '"a b" "" "\\\\\\027\\255~"'],
  ['RP', `${NAME}00`, 'ns.example. .'],
  ['AFSDB', `0001 ${NAME}`, '1 ns.example.'],
  ['AAAA', '20010db8000000000000000000000001', '2001:db8::1'],
  ['AAAA', '00000000000000000000ffffc0000201', '::ffff:192.0.2.1'],
  ['SRV', `0001 0002 0035 ${NAME}`, '1 2 53 ns.example.'],
  ['NAPTR', `0064 000a 01 53 07 5349502b443255 00 ${NAME}`, '100 10 "S" "SIP+D2U" "" ns.example.'],
  ['DNAME', NAME, 'ns.example.'],
  ['DS', `1234 0d 02 ${KEY}`, `4660 13 2 ${KEY.toUpperCase()}`],
  ['SSHFP', `04 02 ${KEY}`, `4 2 ${KEY.toUpperCase()}`],
  [
    'RRSIG',
    `0001 0d 02 00000e10 65920080 6774858f 1234 ${NAME} ${KEY}`,
    'A 13 2 3600 20240101000000 20250101000015 4660 ns.example. AQIDBAUGBwgJCg==',
  ],
  ['NSEC', `${NAME} 0006 620180080003 0101 40`, 'ns.example. A NS SOA MX TXT AAAA RRSIG NSEC CAA'],
  ['DNSKEY', `0101 03 0d ${KEY}`, '257 3 13 AQIDBAUGBwgJCg=='],
  ['NSEC3', `01 01 000a 02 abcd 14 ${HASH} 0001 40`, '1 1 10 ABCD 008I4CQ4ALJ7F24PLATSPNFEVS0128HJ A'],
  ['NSEC3PARAM', '01 00 0000 00', '1 0 0 -'],
  ['TLSA', `03 01 01 ${KEY}`, `3 1 1 ${KEY.toUpperCase()}`],
  ['SMIMEA', `03 01 01 ${KEY}`, `3 1 1 ${KEY.toUpperCase()}`],
  ['CDS', '0000 00 00 00', '0 0 0 00'],
  ['CDNSKEY', '0000 03 00 00', '0 3 0 AA=='],
  ['OPENPGPKEY', KEY, 'AQIDBAUGBwgJCg=='],
  ['CSYNC', '00000042 0003 0004 60000008', '66 3 A NS AAAA'],
  ['ZONEMD', `00000001 01 01 ${HASH}`, `1 1 1 ${HASH.toUpperCase()}`],
  ['SPF', '06 763d73706631', '"v=spf1"'],
  ['URI', '000a 0001 68747470733a2f2f78', '10 1 "https://x"'],
  ['CAA', '00 05 6973737565 6361', '0 issue "ca"'],
  ['CAA', '80 05 6973737565', '128 issue ""'],
  ['EUI48', '00005e00532a', '00-00-5e-00-53-2a'],
  ['EUI64', '00005eef1000002a', '00-00-5e-ef-10-00-00-2a'],
  ['SVCB', `0000 ${NAME}`, '0 ns.example.'],
  ['HTTPS', '0001 00 0001 0006 02 6832 02 6833 0004 0008 c0000201 c0000202', '1 . alpn="h2,h3" ipv4hint=192.0.2.1,192.0.2.2'],
  ['HTTPS', '0001 00 0000 0004 00010004 0001 0003 02 6833 0004 0004 c0000201', '1 . mandatory=alpn,ipv4hint alpn="h3" ipv4hint=192.0.2.1'],
  // the vectors of RFC 9460 appendix D.2
  ['SVCB', '0010 03 666f6f 07 6578616d706c65 03 636f6d 00 0003 0002 0035', '16 foo.example.com. port=53'],
  ['SVCB', '0001 03 666f6f 07 6578616d706c65 03 636f6d 00 029b 0009 68656c6c6fd2716f6f', '1 foo.example.com. key667="hello\\210qoo"'],
  ['SVCB', '0010 03 666f6f 03 6f7267 00 0001 000c 08 665c6f6f2c626172 02 6832', '16 foo.org. alpn="f\\\\\\\\oo\\\\,bar,h2"'],
  ['SVCB', '0001 00 0002 0000 0005 0004 01020304', '1 . no-default-alpn ech=AQIDBA=='],
  ['SVCB', '0001 00 0006 0010 20010db8000000000000000000000001', '1 . ipv6hint=2001:db8::1'],
  // RFC 9461 §5, RFC 9540 §4
  ['SVCB', '0001 00 0007 0010 2f646e732d71756572797b3f646e737d 0008 0000', '1 . dohpath="/dns-query{?dns}" ohttp'],
]

/** RFC 3597 §5 is the form for all of these: what is wrong is in the name of the row. */
const BROKEN: readonly (readonly [what: string, mnemonic: string, octets: string])[] = [
  ['an unknown type, whose octets are no pointer', 'TYPE65280', 'c00c'],
  ['an address that is too short', 'A', 'c00002'],
  ['an address that is too long', 'AAAA', '20010db800000000000000000000000100'],
  ['no data', 'A', ''],
  ['a string that runs out of the record', 'TXT', '0561'],
  ['no string at all', 'TXT', ''],
  ['octets after the name', 'NS', `${NAME}00`],
  ['a pointer forwards', 'CNAME', 'c003 00 00'],
  ['a pointer where compression is forbidden', 'NSEC', '016100 c000 0001 40'],
  ['type blocks out of order', 'NSEC', `${NAME} 0101 40 0001 40`],
  ['an empty type block', 'NSEC', `${NAME} 0000`],
  ['a type block of 33 octets', 'NSEC', `${NAME} 0021 ${'ff'.repeat(33)}`],
  ['no digest', 'DS', '1234 0d 02'],
  ['no hashed owner', 'NSEC3', '01 01 000a 00 00'],
  ['a tag with a control character', 'CAA', '00 02 1b5b 00'],
  ['no target', 'URI', '000a 0001'],
  ['service keys out of order', 'HTTPS', '0001 00 0003 0002 0035 0001 0003 02 6832'],
  ['the same service key twice', 'HTTPS', '0001 00 0003 0002 0035 0003 0002 0035'],
  ['an empty protocol', 'HTTPS', '0001 00 0001 0001 00'],
  ['a key that has no value with one', 'HTTPS', '0001 00 0002 0001 00'],
  ['no addresses in a hint', 'HTTPS', '0001 00 0004 0000'],
  ['a port of three octets', 'HTTPS', '0001 00 0003 0003 003500'],
]

describe('rdataText()', () => {
  for (const [mnemonic, octets, expected] of ROWS)
    test(`prints ${mnemonic} ${expected}`, () => assert.equal(text(mnemonic, octets), expected))

  for (const [what, mnemonic, octets] of BROKEN) {
    test(`prints ${mnemonic} with ${what} in the generic form`, () => {
      const digits = octets.replaceAll(' ', '').toUpperCase()
      assert.equal(text(mnemonic, octets), `\\# ${digits.length / 2}${digits === '' ? '' : ` ${digits}`}`)
    })
  }

  test('takes four octets for an address in class IN only', () => assert.equal(text('A', 'c0000201', 3), '\\# 4 C0000201'))

  test('follows pointers in the types of RFC 3597 §4', () => {
    const message = Buffer.concat([wireName('example.com'), hex('000a 026d78 c000')])
    assert.equal(rdataText(message, { type: 15, class: 1, rdata: 13, end: message.length }), '10 mx.example.com.')
  })

  test('writes IPv6 addresses as RFC 5952 has them', () => {
    const sparse = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), { minLength: 8, maxLength: 8 })
    fc.assert(
      fc.property(sparse, (groups) => {
        const plain = groups.map((group) => group.toString(16))
        const address = text('AAAA', plain.map((group) => group.padStart(4, '0')).join(''))
        // the URL standard shortens as RFC 5952 does, but knows no dotted form
        if (!address.includes('.')) assert.equal(`[${address}]`, new URL(`http://[${plain.join(':')}]`).hostname)
      }),
    )
  })

  test('never throws and never emits a control character, whatever the octets', () => {
    const type = fc.oneof(fc.integer({ min: 0, max: 110 }), fc.integer({ min: 249, max: 262 }))
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), type, fc.nat(20), (bytes, of, start) => {
        const rdata = Math.min(start, bytes.length)
        assert.match(rdataText(bytes, { type: of, class: 1, rdata, end: bytes.length }), /^[ -~]*$/)
      }),
      { numRuns: 2_000 },
    )
  })
})
