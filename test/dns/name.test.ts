import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { expandName, isAtOrBelow, lower, sameName, skipName, skipPlainName } from '../../dns/name.ts'
import { hex, wireName } from '../harness/messages.ts'

const skip = (octets: string, at = 0) => {
  const bytes = hex(octets)
  return skipName(bytes, at, bytes.length)
}
const LONGEST = wireName([63, 63, 63, 61].map((length) => 'a'.repeat(length)).join('.'))

describe('skipName()', () => {
  test('ends behind the root label, or behind the first pointer', () => {
    assert.equal(skip('00'), 1)
    assert.equal(skip('0161 00'), 3)
    assert.equal(skip('0161 00 c000', 3), 5)
    assert.equal(skip('0161 00 0162c000', 3), 7)
    assert.equal(skip('0161 00 c000 c003', 5), 7)
  })

  test('refuses what ends before the name does', () => {
    for (const octets of ['', '01', '0161', '0261', 'c0', '0161c0']) assert.equal(skip(octets), -1, octets)
    const bytes = hex('0161 00 c000')
    assert.equal(skipName(bytes, 3, 4), -1)
    assert.equal(skipName(bytes, 0, 2), -1)
  })

  test('refuses pointers that do not lead strictly backwards', () => {
    assert.equal(skip('c000'), -1)
    assert.equal(skip('0161c000'), -1)
    assert.equal(skip('c002 00'), -1)
    assert.equal(skip('00 c003 c001', 1), -1)
    // back into the middle of what is being read
    assert.equal(skip('00 0161 0162 c003', 1), -1)
  })

  test('refuses reserved label types', () => {
    for (const octets of ['4000', '40', '7f00', '8000', 'bf0000']) assert.equal(skip(octets), -1, octets)
    assert.equal(skip(`3f${'61'.repeat(63)}00`), 65)
  })

  test('takes 255 octets and no more, compressed or not', () => {
    assert.equal(skipName(LONGEST, 0, 255), 255)
    assert.equal(skip(`3f${'61'.repeat(63)}`.repeat(4).concat('00')), -1)
    const name = Buffer.concat([LONGEST, hex('c000')])
    assert.equal(skipName(name, 255, 257), 257)
    assert.equal(skipName(Buffer.concat([LONGEST, hex('0161c000')]), 255, 259), -1)
    const shorter = wireName([63, 63, 63, 59].map((length) => 'a'.repeat(length)).join('.'))
    assert.equal(skipName(Buffer.concat([shorter, hex('0161c000')]), 253, 257), 257)
  })

  test('follows 128 pointers and no more', () => {
    const chain = (jumps: number) =>
      Buffer.concat([hex('00'), ...Array.from({ length: jumps }, (_, i) => pointer(i === 0 ? 0 : 2 * i - 1))])
    for (const [jumps, ok] of [
      [128, true],
      [129, false],
    ] as const) {
      const bytes = chain(jumps)
      assert.equal(skipName(bytes, bytes.length - 2, bytes.length), ok ? bytes.length : -1, String(jumps))
    }
  })
})

test('skipPlainName() refuses every pointer and more than 255 octets', () => {
  assert.equal(skipPlainName(LONGEST, 0, 255), 255)
  assert.equal(skipPlainName(LONGEST, 0, 254), -1)
  for (const octets of ['c000', '0161c000', '4000', '8000', '0161', '']) {
    const bytes = hex(octets)
    assert.equal(skipPlainName(bytes, 0, bytes.length), -1, octets)
  }
  const tooLong = hex(`3f${'61'.repeat(63)}`.repeat(4).concat('00'))
  assert.equal(skipPlainName(tooLong, 0, tooLong.length), -1)
})

test('lower() folds the letters A to Z and nothing else', () => {
  for (let octet = 0; octet < 256; octet++) {
    const letter = octet >= 0x41 && octet <= 0x5a
    assert.equal(lower(octet), letter ? octet + 32 : octet)
  }
})

test('sameName() compares label by label, letters without case, through pointers', () => {
  const same = (a: string, b: string) => sameName(wireName(a), 0, wireName(b), 0)
  assert.ok(same('www.Example.com', 'WWW.eXAMPLE.COM'))
  for (const other of ['www.example.co', 'www.example.comm', 'ww.example.com', 'example.com', 'www.example.com.x', 'wwwxexample.com', '']) {
    assert.ok(!same('www.example.com', other), other)
  }
  // @ and `, [ and { differ in the bit that letters do not
  assert.ok(!same('@', '`'))
  assert.ok(!same('[', '{'))
  // octets that would be equal if the lengths were not looked at
  assert.ok(!sameName(hex('02 6100 00'), 0, hex('01 61 00 00'), 0))
  const message = hex('0161 0162 00 0161 c002 c005')
  assert.ok(sameName(message, 0, message, 5))
  assert.ok(sameName(message, 0, message, 9))
  assert.ok(!sameName(message, 2, message, 5))
  // two messages: equal offsets mean nothing
  assert.ok(!sameName(hex('0161 00'), 0, hex('0162 00'), 0))
})

test('isAtOrBelow() is true for a name and all its ancestors only', () => {
  const names = ['a.b.example', 'b.example', 'example', '', 'c.example', 'x.a.b.example', 'xb.example']
  const at = new Map<string, number>()
  const bytes = Buffer.concat(names.map((name) => wireName(name)))
  let offset = 0
  for (const name of names) {
    at.set(name, offset)
    offset += wireName(name).length
  }
  const below = (name: string, ancestor: string) => isAtOrBelow(bytes, at.get(name) ?? -1, at.get(ancestor) ?? -1)
  for (const ancestor of ['a.b.example', 'b.example', 'example', '']) assert.ok(below('a.b.example', ancestor), ancestor)
  for (const other of ['c.example', 'x.a.b.example', 'xb.example']) assert.ok(!below('a.b.example', other), other)
})

test('expandName() writes a compressed name out', () => {
  const message = hex('0162 00 0161 c000')
  const out = Buffer.alloc(10)
  assert.equal(expandName(message, 3, out, 2), 7)
  assert.deepEqual(out.subarray(2, 7), wireName('a.b'))
})

function pointer(target: number): Buffer {
  return Buffer.from([0xc0 | (target >> 8), target & 0xff])
}
