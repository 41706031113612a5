import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import test from 'node:test'
import fc from 'fast-check'
import type { Field } from '../../../net/fields.ts'
import { Qpack } from '../../../net/http3/errors.ts'
import { FieldSectionDecoder } from '../../../net/http3/qpack-decode.ts'
import { encodeFieldSection, maxFieldsLength, putFields } from '../../../net/http3/qpack-encode.ts'
import { STATIC_TABLE } from '../../../net/http3/qpack-static.ts'
import { huffman } from '../huffman-code.ts'

const LIMIT = 16_384
const FAILED = { kind: 'error', error: { code: Qpack.DECOMPRESSION_FAILED, scope: 'connection' } }
const TOO_LARGE = { kind: 'too-large' }

function decode(section: string | Uint8Array, limit = LIMIT): unknown {
  const bytes = typeof section === 'string' ? Buffer.from(section.replaceAll(' ', ''), 'hex') : section
  return new FieldSectionDecoder(limit).decode(bytes)
}

function fields(...lines: Field[]): unknown {
  return { kind: 'fields', fields: lines }
}

test('FieldSectionDecoder decodes RFC 9204 appendix B.1, and encodeFieldSection() writes it', () => {
  const section = '0000 510b 2f69 6e64 6578 2e68 746d 6c'
  assert.deepEqual(decode(section), fields([':path', '/index.html']))
  assert.equal(Buffer.from(encodeFieldSection([[':path', '/index.html']])).toString('hex'), section.replaceAll(' ', ''))
})

test('FieldSectionDecoder decodes each representation that needs no dynamic table', () => {
  assert.deepEqual(decode('0000'), fields())
  assert.deepEqual(decode('0000 d1 ff23'), fields([':method', 'GET'], ['x-frame-options', 'sameorigin']))
  // literal names, "never indexed" or not
  assert.deepEqual(decode('0000 2161 0162 3163 00'), fields(['a', 'b'], ['c', '']))
  // a name reference whose index needs more than its prefix, "never indexed"
  assert.deepEqual(decode('0000 7f50 0161'), fields(['user-agent', 'a']))
  assert.deepEqual(decode('0000 51 80 51 00'), fields([':path', ''], [':path', '']))
  const value = huffman(Buffer.from('www.example.com'))
  assert.deepEqual(decode(Buffer.concat([Buffer.from('0000508c', 'hex'), value])), fields([':authority', 'www.example.com']))
  const name = huffman(Buffer.from('custom-key'))
  const both = [Buffer.from('00002f01', 'hex'), name, Buffer.of(0x80 | value.length), value]
  assert.deepEqual(decode(Buffer.concat(both)), fields(['custom-key', 'www.example.com']))
})

test('FieldSectionDecoder makes one character of each octet', () => {
  const all = Buffer.from(Uint8Array.from({ length: 256 }, (_, octet) => octet))
  const text = all.toString('latin1')
  assert.deepEqual(decode(Buffer.concat([Buffer.from('000021617f8101', 'hex'), all])), fields(['a', text]))
  // 583 octets
  assert.deepEqual(decode(Buffer.concat([Buffer.from('00002161ffc803', 'hex'), huffman(all)])), fields(['a', text]))
})

test('FieldSectionDecoder takes any Base that is not negative', () => {
  assert.deepEqual(decode('00 05 d1'), fields([':method', 'GET']))
  assert.deepEqual(decode('00 7f 80ffffffffffffff3f d1'), fields([':method', 'GET']), '2^62 - 1')
  assert.deepEqual(decode('00 80'), FAILED)
  assert.deepEqual(decode('00 85'), FAILED)
})

test('FieldSectionDecoder refuses what needs a dynamic table', () => {
  for (const section of ['01 00', '02 00 80', 'ff00 00']) assert.deepEqual(decode(section), FAILED, 'Required Insert Count')
  for (const section of ['0000 80', '0000 81']) assert.deepEqual(decode(section), FAILED, 'indexed')
  for (const section of ['0000 10', '0000 11']) assert.deepEqual(decode(section), FAILED, 'indexed, post-base')
  for (const section of ['0000 40 00', '0000 41 00']) assert.deepEqual(decode(section), FAILED, 'name reference')
  for (const section of ['0000 00 00', '0000 01 61 00']) assert.deepEqual(decode(section), FAILED, 'name reference, post-base')
})

test('FieldSectionDecoder refuses an index behind the static table', () => {
  assert.deepEqual(decode('0000 ff23'), fields(['x-frame-options', 'sameorigin']))
  assert.deepEqual(decode('0000 ff24'), FAILED)
  assert.deepEqual(decode('0000 5f53 00'), fields(['x-frame-options', '']))
  assert.deepEqual(decode('0000 5f54 00'), FAILED)
})

test('FieldSectionDecoder refuses integers of more than 62 bits', () => {
  assert.deepEqual(decode('00 7f ffffffffffffffff7f'), FAILED, '63 bits')
  assert.deepEqual(decode('00 7f 8080808080808080 8000'), FAILED, '11 octets')
  assert.deepEqual(decode('0000 ff a3808080808080 8000'), fields(['x-frame-options', 'sameorigin']), '10 octets')
  assert.deepEqual(decode('0000 ff a380808080808080 8000'), FAILED, '11 octets of a small number')
})

test('FieldSectionDecoder refuses a section that ends within something', () => {
  const whole = Buffer.concat([encodeFieldSection([['custom-key', 'custom-value']]), Buffer.from('ff23', 'hex')])
  for (const length of [0, 1, 3, 4, 5, 13, 14, 15, 20, 26, 28]) assert.deepEqual(decode(whole.subarray(0, length)), FAILED, `${length}`)
  assert.deepEqual(decode(whole), fields(['custom-key', 'custom-value'], ['x-frame-options', 'sameorigin']))
  assert.deepEqual(decode('00 7f'), FAILED)
  assert.deepEqual(decode('0000 51 ff'), FAILED)
})

test('FieldSectionDecoder refuses Huffman codes that are none', () => {
  assert.deepEqual(decode('0000 51 81ff'), FAILED)
  assert.deepEqual(decode('0000 29ff 00'), FAILED)
})

test('FieldSectionDecoder counts as RFC 9114 §4.2.2 does', () => {
  const section = encodeFieldSection([
    [':method', 'GET'],
    ['a', 'bc'],
  ])
  assert.deepEqual(decode(section, 7 + 3 + 32 + 1 + 2 + 32), fields([':method', 'GET'], ['a', 'bc']))
  assert.deepEqual(decode(section, 7 + 3 + 32 + 1 + 2 + 31), TOO_LARGE)
})

test('FieldSectionDecoder tells what is too large from what is broken, however it grows', () => {
  assert.deepEqual(decode(encodeFieldSection([['a', 'b'.repeat(LIMIT)]])), TOO_LARGE)
  assert.deepEqual(decode(Buffer.concat([Buffer.of(0, 0), Buffer.alloc(513, 0xd1)])), TOO_LARGE)
  const coded = huffman(Buffer.alloc(20_000, 'a'))
  const length = coded.length - 127
  const head = Buffer.of(0, 0, 0x21, 0x61, 0xff, (length & 127) | 128, ((length >> 7) & 127) | 128, length >> 14)
  assert.deepEqual(decode(Buffer.concat([head, coded])), TOO_LARGE)
  const decoder = new FieldSectionDecoder(LIMIT)
  assert.deepEqual(decoder.decode(Buffer.concat([head, coded])), TOO_LARGE)
  assert.deepEqual(decoder.decode(Buffer.of(0, 0, 0x80)), FAILED)
})

test('encodeFieldSection() refers to the static table where it can', () => {
  for (const [index, field] of STATIC_TABLE.entries()) {
    const section = encodeFieldSection([field])
    assert.deepEqual(decode(section), fields(field))
    assert.equal(section.length, index < 63 ? 3 : 4, field.join(': '))
  }
  assert.equal(Buffer.from(encodeFieldSection([['cache-control', 'max-age=7']])).toString('latin1'), '\0\0\x5f\x15\x09max-age=7')
})

test('STATIC_TABLE is RFC 9204 appendix A', () => {
  // of the table of another implementation (ls-qpack)
  const text = STATIC_TABLE.map(([name, value]) => `${name}: ${value}\n`).join('')
  assert.equal(createHash('sha256').update(text).digest('hex'), 'f778de50d45b042ede99d0781252e2d318286eb3b71e0271c0228ff02051b5c2')
})

test('encodeFieldSection() writes lengths that need more than their prefix', () => {
  for (const length of [0, 6, 7, 8, 126, 127, 128, 254, 255, 256, 400, 16_510, 16_511]) {
    const field = ['n'.repeat(length), 'v'.repeat(length)] as const
    assert.deepEqual(decode(encodeFieldSection([field]), 40_000), fields(field))
  }
})

test('putFields() appends to a section', () => {
  const constant = encodeFieldSection([
    [':status', '200'],
    ['content-type', 'application/dns-message'],
  ])
  const more: Field[] = [
    ['content-length', '33'],
    ['cache-control', 'max-age=60'],
  ]
  const buffer = new Uint8Array(constant.length + maxFieldsLength(more))
  buffer.set(constant)
  const end = putFields(buffer, constant.length, more)
  const all = fields([':status', '200'], ['content-type', 'application/dns-message'], ...more)
  assert.deepEqual(decode(buffer.subarray(0, end)), all)
})

const octets = (maxLength: number) => fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes).toString('latin1'))
const known = fc.constantFrom(...STATIC_TABLE)
const line: fc.Arbitrary<Field> = fc.oneof(
  known,
  fc.tuple(octets(200), octets(400)),
  fc.tuple(known, octets(20)).map(([[name], value]) => [name, value] as const),
)

test('FieldSectionDecoder decodes what encodeFieldSection() wrote', () => {
  fc.assert(
    fc.property(fc.array(line, { maxLength: 20 }), (lines) => {
      assert.ok(encodeFieldSection(lines).length <= maxFieldsLength(lines) + 2)
      assert.deepEqual(decode(encodeFieldSection(lines)), fields(...lines))
    }),
  )
})

test('FieldSectionDecoder gives an outcome for any octets', () => {
  const decoder = new FieldSectionDecoder(LIMIT)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      for (const section of [bytes, Buffer.concat([Buffer.of(0, 0), bytes])]) {
        const result = decoder.decode(section)
        if (result.kind === 'fields') assert.ok(result.fields.length <= LIMIT / 32)
      }
    }),
    { numRuns: 1000 },
  )
})
