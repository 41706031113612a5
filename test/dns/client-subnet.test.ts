import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import {
  MAX_SOURCE_IPV4,
  MAX_SOURCE_IPV6,
  NO_SUBNET,
  putSubnet,
  scopeFor,
  subnetLength,
  subnetOfAddress,
  subnetOfOption,
  WITHHELD,
} from '../../dns/client-subnet.ts'
import { parseAddress } from '../../net/address.ts'
import { hex } from '../harness/messages.ts'

const read = (data: string) => {
  const bytes = hex(`ffff${data}ffff`)
  return subnetOfOption(bytes, 2, bytes.length - 4)
}
/** What is sent on of an option's data, hexadecimal; '' for none. */
function sentOn(data: string): string {
  const subnet = read(data)
  assert.ok(subnet, data)
  return written(subnet)
}

function written(subnet: Parameters<typeof putSubnet>[2]): string {
  if (subnet === NO_SUBNET) return ''
  const out = Buffer.alloc(40, 0xff)
  const end = putSubnet(out, 3, subnet)
  assert.equal(end, 3 + subnetLength(subnet))
  return out.toString('hex', 3, end)
}

const said = (address: string) => written(subnetOfAddress(parseAddress(address) ?? assert.fail(address)))

describe('a client subnet (RFC 7871 §6)', () => {
  test('is malformed where a field is not as it must be', () => {
    for (const data of [
      '', // nothing
      '000118', // cut in the fixed part
      '00011800', // no ADDRESS
      '00011800c000', // too few octets
      '00011800c0000203', // too many
      '00010000c0', // too many of none
      '00011700c00003', // a bit beyond the prefix
      '00010100c0',
      '000121 00 c000020100', // 33 bits of 32
      '0002 81 00 20010db8000000000000000000000000 00', // 129 of 128
      '00011818c00002', // SCOPE in a query
      '00000000', // FAMILY 0
      '00000800c0',
      '00031800c00002',
    ]) {
      assert.equal(read(data), null, data)
    }
  })

  test('is cut to what may be sent, and never longer than it was', () => {
    assert.equal(sentOn('00012000c0000280'), '00011800c00002')
    assert.equal(sentOn('00011900c0000280'), '00011800c00002')
    assert.equal(sentOn('00011800c00002'), '00011800c00002')
    assert.equal(sentOn('00011400c63360'), '00011400c63360')
    assert.equal(sentOn('0001010080'), '0001010080')
    assert.equal(sentOn('00028000 2a0012345678 9abc def0123456789abc'), '000238002a00123456789a')
    assert.equal(sentOn('00023800 2a00123456789a'), '000238002a00123456789a')
    assert.equal(sentOn('00022100 2a00123480'), '000221002a00123480')
    assert.deepEqual([MAX_SOURCE_IPV4, MAX_SOURCE_IPV6], [24, 56])
  })

  test('without an address is that, of either family', () => {
    assert.equal(read('00010000'), WITHHELD)
    assert.equal(read('00020000'), WITHHELD)
    assert.equal(written(WITHHELD), '00010000')
  })

  test('of a network that means nothing elsewhere is not sent on', () => {
    for (const data of [
      '000118000a0102',
      '00012000c0a80101',
      '00010800 7f',
      '000210 00 fe80',
      '00020800fd',
      '0002800000000000000000000000000000000001',
    ]) {
      assert.equal(sentOn(data), '', data)
    }
    // these are more than that network
    assert.equal(sentOn('000107000a'), '000107000a')
    assert.equal(sentOn('00010b00ac00'), '00010b00ac00')
  })
})

describe('subnetOfAddress()', () => {
  test('says no more than /24 and /56', () => {
    assert.equal(said('198.51.100.77'), '00011800c63364')
    assert.equal(said('2a00:1234:5678:9abc::1'), '000238002a00123456789a')
  })

  test('says nothing of an address that is not global', () => {
    const special =
      '0.0.0.0 10.255.1.1 100.64.0.1 100.127.255.255 127.0.0.1 169.254.1.1 172.16.0.1 172.31.255.255 192.0.0.8 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255' +
      ' :: ::1 fc00::1 fdff::1 fe80::1 fec0::1 ff02::1 64:ff9b::1 100::1 2001::1 2001:1ff::1 2002:c000:201::1 4000::1'
    for (const address of special.split(' ')) assert.equal(said(address), '', address)
    const global =
      '1.1.1.1 9.255.1.1 11.0.0.1 100.63.0.1 100.128.0.1 126.0.0.1 128.0.0.1 169.253.1.1 172.15.0.1 172.32.0.1 192.167.0.1 198.17.0.1 198.20.0.1 223.255.0.1'
    for (const address of `${global} 2001:200::1 2003::1 3fff:ffff::1 2600::1`.split(' ')) assert.notEqual(said(address), '', address)
  })
})

describe('scopeFor()', () => {
  const subnet = subnetOfAddress(parseAddress('198.51.100.77') ?? assert.fail())
  const scope = (data: string, of = subnet) => {
    const bytes = hex(`ff${data}ff`)
    return scopeFor(of, bytes, 1, bytes.length - 2)
  }

  test('takes the SCOPE where the rest is as it was asked', () => {
    for (const [octet, value] of [
      ['00', 0],
      ['10', 16],
      ['18', 24],
      ['20', 32],
    ] as const)
      assert.equal(scope(`000118${octet}c63364`), value)
  })

  test('is -1 where any of it differs', () => {
    for (const data of [
      '00021818c63364',
      '00011718c63364',
      '00011818c63365',
      '00011818c73364',
      '00011818c633',
      '00011818c6336400',
      '00010000',
      '',
      '00011821c63364',
    ])
      assert.equal(scope(data), -1, data)
  })

  test('takes whatever is said to a question without an address', () => {
    for (const data of ['00010000', '00011818c63364', '']) assert.equal(scope(data, WITHHELD), 0)
  })
})
