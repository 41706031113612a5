import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import * as packet from 'dns-packet'
import fc from 'fast-check'
import { edeText, opcodeText, optionText, parseEde, parseOpcode, parseOption, parseRcode } from '../../dns/mnemonics.ts'
import {
  answerTexts,
  classText,
  malformedAt,
  messageJson,
  messageText,
  nameText,
  parseClass,
  parseNameText,
  parseType,
  rcodeText,
  typeText,
} from '../../dns/text.ts'
import { aRecord, hex, question, record, response, wireName } from '../harness/messages.ts'

const QUERY = question({ name: 'example.com' })
const opt = (rdata: string, ttl = 0x8000) => record({ owner: hex('00'), type: 41, class: 1232, ttl, rdata: hex(rdata) })
const answer = response(QUERY, { answers: [aRecord()], additionals: [opt('')] })
const labels = fc.array(fc.uint8Array({ minLength: 1, maxLength: 63 }), { maxLength: 6 })
const wireOf = (parts: readonly Uint8Array[]) => Buffer.concat([...parts.flatMap((part) => [Buffer.of(part.length), part]), Buffer.of(0)])

describe('nameText() and parseNameText()', () => {
  test('are each other’s inverse for any octets in labels', () => {
    fc.assert(
      fc.property(labels, (parts) => {
        const wire = wireOf(parts)
        const text = nameText(wire, 0)
        if (wire.length > 255) return assert.equal(text, null)
        assert.match(text ?? '', /^[!-~]+$/)
        assert.deepEqual(Buffer.from(parseNameText(text ?? '') ?? []), wire)
      }),
    )
  })

  test('escape dots, backslashes, what zone files treat specially, and what is no printable ASCII', () => {
    const wire = Buffer.from([11, ...Buffer.from('a.b\\c"; $@()')]).subarray(0, 12)
    assert.equal(nameText(Buffer.concat([wire, hex('01 00 02 7fff 00')]), 0), 'a\\.b\\\\c\\"\\;\\032\\$\\@\\(.\\000.\\127\\255.')
  })

  test('keep letter case and end with the root', () => {
    assert.equal(nameText(wireName('WwW.Example'), 0), 'WwW.Example.')
    assert.equal(nameText(hex('00'), 0), '.')
  })

  test('follow pointers backwards only', () => {
    assert.equal(nameText(hex('026162 00 0163 c000'), 4), 'c.ab.')
    for (const broken of ['c000', 'c002 00 00', '0161 c000', '0161', '40', '80', '']) assert.equal(nameText(hex(broken), 0), null, broken)
  })

  test('take a name with and without its trailing dot for the same', () => {
    assert.deepEqual(parseNameText('a.b'), parseNameText('a.b.'))
    assert.deepEqual(parseNameText('.'), Uint8Array.of(0))
    assert.deepEqual(parseNameText('\\097\\.\\\\.b'), Uint8Array.from(hex('03 612e5c 01 62 00')))
  })

  test('refuse what is no name', () => {
    const long = `${'a'.repeat(63)}.`
    assert.equal(parseNameText(`${long.repeat(3)}${'a'.repeat(61)}`)?.length, 255)
    const wrong = [
      '',
      '..',
      '.a',
      'a..b',
      'a\\',
      'a\\25',
      'a\\256',
      'a b',
      'bücher',
      'a\tb',
      'a'.repeat(64),
      `${long.repeat(3)}${'a'.repeat(62)}`,
    ]
    for (const text of wrong) assert.equal(parseNameText(text), null, text)
  })
})

describe('mnemonics', () => {
  test('go both ways, numbers without a name too', () => {
    assert.deepEqual([typeText(28), typeText(65), typeText(257), typeText(65280)], ['AAAA', 'HTTPS', 'CAA', 'TYPE65280'])
    for (let value = 0; value <= 0xffff; value += 1) assert.equal(parseType(typeText(value)), value)
    for (let value = 0; value < 300; value++) {
      assert.equal(parseClass(classText(value)), value)
      assert.equal(parseRcode(rcodeText(value)), value)
      assert.equal(parseOpcode(opcodeText(value)), value)
      assert.equal(parseOption(optionText(value)), value)
      assert.equal(parseEde(edeText(value)), value)
    }
  })

  test('agree with dns-packet about the types that it knows', () => {
    const known = [
      'A',
      'NS',
      'CNAME',
      'SOA',
      'PTR',
      'HINFO',
      'MX',
      'TXT',
      'RP',
      'AAAA',
      'SRV',
      'NAPTR',
      'DS',
      'SSHFP',
      'RRSIG',
      'NSEC',
      'CAA',
    ] as const
    for (const type of known) {
      const wire = packet.encode({ type: 'query', questions: [{ type, name: 'x' }] })
      assert.equal(typeText(wire.readUInt16BE(15)), type)
    }
  })

  test('are read without regard to case, and only when they are whole', () => {
    assert.equal(parseType('aaaa'), 28)
    assert.equal(parseType('type65'), 65)
    for (const wrong of ['', 'TYPE', 'TYPE65536', 'TYPE-1', 'TYPE1x', 'AAAAA', ' A', 'toString', '__proto__'])
      assert.equal(parseType(wrong), null)
  })
})

describe('messageText()', () => {
  test('shows header, EDNS, question and records as kdig does', () => {
    assert.equal(
      messageText(answer),
      `;; ->>HEADER<<- opcode: QUERY; status: NOERROR; id: 4660
;; Flags: qr rd ra; QUERY: 1; ANSWER: 1; AUTHORITY: 0; ADDITIONAL: 1

;; EDNS PSEUDOSECTION:
;; Version: 0; flags: do; UDP size: 1232 B; ext-rcode: NOERROR

;; QUESTION SECTION:
;; example.com.        \t\tIN\tA

;; ANSWER SECTION:
example.com.        \t300\tIN\tA\t192.0.2.1
`,
    )
  })

  test('joins the two parts of an extended RCODE', () => {
    assert.match(messageText(response(QUERY, { additionals: [opt('', 0x0100_0000)] })), /status: BADVERS;(?:.*\n)*.*ext-rcode: BADVERS/)
  })

  test('names the EDNS options that it knows and shows the others in hex', () => {
    const options: readonly (readonly [octets: string, line: string])[] = [
      ['0003 0005 6770646e73', 'NSID: 6770646E73 "gpdns"'],
      ['0008 0007 0001 18 00 010203', 'CLIENT-SUBNET: 1.2.3.0/24/0'],
      ['0008 0008 0002 20 30 20010db8', 'CLIENT-SUBNET: 2001:db8::/32/48'],
      ['0008 0006 0001 18 00 0102', 'CLIENT-SUBNET: 000118000102'],
      ['0008 0004 0007 00 00', 'CLIENT-SUBNET: 00070000'],
      ['0009 0000', 'EXPIRE'],
      ['0009 0004 00000e10', 'EXPIRE: 3600 s'],
      ['000a 0008 0011223344556677', 'COOKIE: 0011223344556677'],
      ['000b 0000', 'TCP-KEEPALIVE'],
      ['000b 0002 012c', 'TCP-KEEPALIVE: 30.0 s'],
      ['000b 0001 01', 'TCP-KEEPALIVE: 01'],
      ['000c 0003 000000', 'PADDING: 3 B'],
      ['000f 0002 0003', 'EDE: 3 (Stale Answer)'],
      ['000f 0007 0016 74c3a978 74', "EDE: 22 (No Reachable Authority): 'téxt'"],
      ['000f 000d 03e7 61 1b5b333141 0a e280ae ff', "EDE: 999 (EDE999): 'a[31A\ufffd'"],
      ['ff00 0002 beef', 'OPT65280: BEEF'],
    ]
    for (const [octets, line] of options) assert.match(messageText(response(QUERY, { additionals: [opt(octets)] })), lineOf(line))
    assert.match(messageText(response(QUERY, { additionals: [opt('0003 0005 67')] })), lineOf('Malformed options: 0003000567'))
  })

  test('shows a malformed message as far as it can be read, and says where that is', () => {
    for (let length = 0; length < answer.length; length++) {
      assert.match(messageText(answer.subarray(0, length)), /;; Malformed: /)
      assert.ok(malformedAt(answer.subarray(0, length)) >= 0)
    }
    const cut = messageText(answer.subarray(0, -1))
    assert.match(cut, /A\t192\.0\.2\.1\n\n;; Malformed: cannot be read from octet 45 of 55 on\n$/)
    assert.equal(malformedAt(answer), -1)
    assert.equal(malformedAt(Buffer.concat([answer, hex('00')])), answer.length)
  })

  test('never throws and emits no control character but line feed and tab, whatever the octets', () => {
    const hostile = fc
      .tuple(fc.uint8Array({ maxLength: 40 }), fc.constantFrom(16, 65, 46, 41, 257, 65280), fc.uint8Array({ maxLength: 80 }))
      .map(([owner, type, rdata]) =>
        response(question({ name: 'x' }), { answers: [record({ type, rdata: Buffer.from(rdata) })], additionals: [Buffer.from(owner)] }),
      )
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 600 }), hostile), (bytes) => {
        assert.doesNotMatch(messageText(bytes), /(?![\n\t])[\p{C}\u2028\u2029]/u)
        assert.doesNotMatch(JSON.stringify(messageJson(bytes)), /\p{C}/u)
        answerTexts(bytes)
      }),
      { numRuns: 3_000 },
    )
  })

  test('stays small for a header that promises what is not there', () => {
    assert.ok(messageText(hex('0000 8000 ffff ffff ffff ffff')).length < 300)
  })
})

function lineOf(text: string): RegExp {
  return new RegExp(`^;; ${text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')}$`, 'm')
}
