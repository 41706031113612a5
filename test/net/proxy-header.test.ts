import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import fc from 'fast-check'
import { formatAddress } from '../../net/address.ts'
import { crc32c } from '../../net/crc32c.ts'
import { INVALID, NEED_MORE, type ProxiedKind, readProxyHeader } from '../../net/proxy-header.ts'
import { hex } from '../harness/messages.ts'

const SIGNATURE = '0d0a0d0a000d0a515549540a'
const IPV4 = 'c0000201 cb007107 dd5c 0355'
const IPV6 = '20010db8000000000000000000000001 20010db8000000000000000000000002 dd5c 0355'

function binary(command: string, family: string, rest = '', length = hex(rest).length): Buffer {
  const head = hex(`${SIGNATURE}${command}${family}0000`)
  head.writeUInt16BE(length, 14)
  return Buffer.concat([head, hex(rest)])
}

/** "address port length", "itself length", or what is wrong. */
function read(bytes: Uint8Array, kind: ProxiedKind = 'stream'): string {
  const header = readProxyHeader(bytes, kind)
  if (header === NEED_MORE || header === INVALID) return header
  const { source, length } = header
  return source === null ? `itself ${length}` : `${formatAddress(source.octets)} ${source.port} ${length}`
}

const line = (text: string) => read(Buffer.from(text, 'latin1'))

test('CRC32c is that of RFC 3720 appendix B.4', () => {
  assert.equal(crc32c(Buffer.alloc(32)), 0x8a91_36aa)
  assert.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8_ab43)
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd_794e)
  assert.equal(crc32c(Buffer.from('123456789')), 0xe306_9283)
})

describe('version 1 of the PROXY protocol', () => {
  for (const [text, expected] of [
    ['PROXY TCP4 192.0.2.1 203.0.113.7 56668 853\r\n', '192.0.2.1 56668 44'],
    ['PROXY TCP6 2001:db8::1 2001:DB8::2 56668 853\r\nmore', '2001:db8::1 56668 46'],
    ['PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n', '255.255.255.255 65535 56'],
    ['PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n', '0.0.0.0 0 32'],
    ['PROXY UNKNOWN\r\n', 'itself 15'],
    ['PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n', 'itself 59'],
    ['PROXY TCP4 192.0.2.1 203.0.113.7 56668 853\n', INVALID],
    ['PROXY TCP4 192.0.2.1 203.0.113.7 56668 853\r', NEED_MORE],
    ['PROXY TCP4 192.0.2.1 203.0.113.7 56668 853\r ', INVALID],
    ['PROXY TCP4 192.0.2.1 203.0.113.7 056 853\r\n', INVALID],
    ['PROXY TCP4 192.0.2.1 203.0.113.7 56 0853\r\n', INVALID],
    ['PROXY TCP4 192.0.2.1 203.0.113.7 65536 853\r\n', INVALID],
    ['PROXY TCP4 192.0.2.1 203.0.113.7 56 65536\r\n', INVALID],
    ['PROXY TCP4 192.0.2.1 203.0.113.7 56  853\r\n', INVALID],
    ['PROXY TCP4  192.0.2.1 203.0.113.7 56 853\r\n', INVALID],
    ['PROXY TCP4 192.0.2.1 203.0.113.7 56 853 \r\n', INVALID],
    ['PROXY TCP4 192.0.2.1 203.0.113.7 56\r\n', INVALID],
    ['PROXY TCP4 192.0.2.01 203.0.113.7 56 853\r\n', INVALID],
    ['PROXY TCP4 192.0.2.256 203.0.113.7 56 853\r\n', INVALID],
    ['PROXY TCP4 192.0.513 203.0.113.7 56 853\r\n', INVALID],
    ['PROXY TCP4 192.0.2.1 203.0.113 56 853\r\n', INVALID],
    ['PROXY TCP4 2001:db8::1 2001:db8::2 56 853\r\n', INVALID],
    ['PROXY TCP6 192.0.2.1 203.0.113.7 56 853\r\n', INVALID],
    ['PROXY TCP6 2001:db8:::1 2001:db8::2 56 853\r\n', INVALID],
    ['PROXY UDP4 192.0.2.1 203.0.113.7 56 853\r\n', INVALID],
    ['PROXY UNKNOWNX\r\n', INVALID],
    ['proxy TCP4 192.0.2.1 203.0.113.7 56 853\r\n', INVALID],
    ['PROXY\tTCP4 192.0.2.1 203.0.113.7 56 853\r\n', INVALID],
    ['GET / HTTP/1.1\r\n', INVALID],
    ['', NEED_MORE],
    ['PROX', NEED_MORE],
    [`PROXY UNKNOWN ${'x'.repeat(91)}\r\n`, 'itself 107'],
    [`PROXY UNKNOWN ${'x'.repeat(92)}\r\n`, INVALID],
    [`PROXY UNKNOWN ${'x'.repeat(92)}`, NEED_MORE],
    [`PROXY UNKNOWN ${'x'.repeat(93)}`, INVALID],
  ] as const) {
    test(`${JSON.stringify(text.slice(0, 70))} is ${expected}`, () => {
      assert.equal(line(text), expected)
    })
  }

  test('is not for datagrams', () => {
    assert.equal(read(Buffer.from('PROXY TCP4 192.0.2.1 203.0.113.7 56 853\r\n'), 'datagram'), INVALID)
  })
})

describe('version 2 of the PROXY protocol', () => {
  const checked = (family: string, rest: string, damage = 0) => {
    const header = binary('21', family, `${rest} 03000400000000`)
    header.writeUInt32BE((crc32c(header) ^ damage) >>> 0, header.length - 4)
    return header
  }
  for (const [what, bytes, expected] of [
    ['IPv4', binary('21', '11', IPV4), '192.0.2.1 56668 28'],
    ['IPv6', binary('21', '21', IPV6), '2001:db8::1 56668 52'],
    [
      'IPv4 in IPv6 is IPv4',
      binary('21', '21', IPV6.replace('20010db8000000000000000000000001', `${'00'.repeat(10)}ffffc0000201`)),
      '192.0.2.1 56668 52',
    ],
    ['with TLVs', binary('21', '11', `${IPV4} 01 0003 646f74 ee 0000`), '192.0.2.1 56668 37'],
    ['with a checksum that holds', checked('11', IPV4), '192.0.2.1 56668 35'],
    ['with one that does not', checked('11', IPV4, 1), INVALID],
    ['with one of three octets', binary('21', '11', `${IPV4} 03 0003 000000`), INVALID],
    ['with a TLV that is cut', binary('21', '11', `${IPV4} 01 0004 646f74`), INVALID],
    ['with half a TLV', binary('21', '11', `${IPV4} 01 00`), INVALID],
    ['of the load balancer itself', binary('20', '00'), 'itself 16'],
    ['of the load balancer itself, with addresses', binary('20', '11', IPV4), 'itself 28'],
    ['without a family', binary('21', '00', 'ee 0001 00'), 'itself 20'],
    ['of a Unix socket', binary('21', '31', '00'.repeat(216)), 'itself 232'],
    ['of a Unix socket, too short', binary('21', '31', '00'.repeat(215)), INVALID],
    ['of no protocol', binary('21', '10', IPV4), 'itself 28'],
    ['of version 1', binary('11', '11', IPV4), INVALID],
    ['of version 3', binary('31', '11', IPV4), INVALID],
    ['with command 2', binary('22', '11', IPV4), INVALID],
    ['of family 4', binary('21', '41', IPV4), INVALID],
    ['of protocol 3', binary('21', '13', IPV4), INVALID],
    ['of datagrams in front of a stream', binary('21', '12', IPV4), INVALID],
    ['with half an address', binary('21', '11', 'c0000201'), INVALID],
    ['with IPv4 in the place of IPv6', binary('21', '21', IPV4), INVALID],
    ['of 4,097 octets', binary('21', '11', IPV4, 4097), INVALID],
    ['of 65,535 octets', binary('20', '00', '', 65_535), INVALID],
    ['of 4,096 octets, of which some are there', binary('21', '11', IPV4, 4096), NEED_MORE],
  ] as const) {
    test(`${what}: ${expected}`, () => {
      assert.equal(read(bytes), expected)
    })
  }

  test('needs more at every place, and then no more', () => {
    const whole = checked('11', `${IPV4} 01 0003 646f74`)
    for (let length = 0; length < whole.length; length++) assert.equal(read(whole.subarray(0, length)), NEED_MORE, String(length))
    const followed = Buffer.concat([whole, hex('160301')])
    assert.equal(read(followed), `192.0.2.1 56668 ${whole.length}`)
  })

  test('of datagrams is that of datagrams', () => {
    assert.equal(read(binary('21', '12', IPV4), 'datagram'), '192.0.2.1 56668 28')
    assert.equal(read(binary('21', '22', IPV6), 'datagram'), '2001:db8::1 56668 52')
    assert.equal(read(binary('21', '11', IPV4), 'datagram'), INVALID)
    assert.equal(read(binary('20', '00'), 'datagram'), 'itself 16')
  })
})

test('whatever comes is read or refused, and no header is longer than what came', () => {
  const start = fc.constantFrom(hex(SIGNATURE), Buffer.from('PROXY TCP4 '), Buffer.alloc(0))
  fc.assert(
    fc.property(start, fc.uint8Array({ maxLength: 300 }), fc.constantFrom<ProxiedKind>('stream', 'datagram'), (head, rest, kind) => {
      const bytes = Buffer.concat([head, rest])
      const header = readProxyHeader(bytes, kind)
      if (header !== NEED_MORE && header !== INVALID) assert.ok(header.length <= bytes.length)
    }),
    { numRuns: 5000 },
  )
})
