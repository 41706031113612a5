import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'
import { brotliDecompressSync } from 'node:zlib'
import fc from 'fast-check'
import type { Field } from '../../../net/fields.ts'
import type { FieldLine } from '../../../transports/http2/field-line.ts'
import { DECODED, HpackDecoder, INVALID, TOO_LARGE } from '../../../transports/http2/hpack/decoder.ts'
import { maxFieldsLength, putFields } from '../../../transports/http2/hpack/encoder.ts'
import { huffman } from '../../net/huffman-code.ts'
import { block } from './frames.ts'

/** What other implementations wrote for the same fields (hpack-stories.LICENSE). */
interface Stories {
  readonly stories: readonly {
    readonly name: string
    readonly headers: readonly (readonly Field[])[]
    readonly wires: Readonly<Record<string, readonly string[]>>
  }[]
}

const LIMIT = 16_384

function decode(decoder: HpackDecoder, hex: string | Buffer): readonly Field[] | number {
  const bytes = typeof hex === 'string' ? Buffer.from(hex, 'hex') : hex
  const lines: FieldLine[] = []
  const result = decoder.decode(bytes, 0, bytes.length, lines)
  return result === DECODED ? lines.map(({ name, value }) => [name, value]) : result
}

test('HpackDecoder decodes what other encoders write', () => {
  const file = readFileSync(new URL('../../vectors/hpack-stories.json.br', import.meta.url))
  const { stories } = JSON.parse(brotliDecompressSync(file).toString()) as Stories
  let blocks = 0
  for (const { name, headers, wires } of stories) {
    for (const [encoder, story] of Object.entries(wires)) {
      const decoder = new HpackDecoder(1e6)
      for (const [i, wire] of story.entries()) {
        assert.deepEqual(decode(decoder, wire), headers[i], `${encoder} ${name}, block ${i}`)
        blocks++
      }
    }
  }
  assert.equal(blocks, 3066)
})

test('HpackDecoder decodes the requests of RFC 7541 appendix C.4, which share a table', () => {
  const decoder = new HpackDecoder(LIMIT)
  const common: readonly Field[] = [
    [':method', 'GET'],
    [':scheme', 'http'],
    [':path', '/'],
    [':authority', 'www.example.com'],
  ]
  assert.deepEqual(decode(decoder, '828684418cf1e3c2e5f23a6ba0ab90f4ff'), common)
  assert.deepEqual(decode(decoder, '828684be5886a8eb10649cbf'), [...common, ['cache-control', 'no-cache']])
  assert.deepEqual(decode(decoder, '828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf'), [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':path', '/index.html'],
    [':authority', 'www.example.com'],
    ['custom-key', 'custom-value'],
  ])
})

test('HpackDecoder refuses what cannot be decoded (conformance H2-43, H2-44)', () => {
  const invalid = {
    'index 0': '80',
    'an index behind the table': 'be',
    'an index far behind the table': 'ffff03',
    'a name behind the table': '7f00',
    'an integer without an end': 'ffffffffffffffffffffff',
    'an integer that is cut': 'ff',
    'a string that is longer than the block': '400161036162',
    'a string that is cut': '4005',
    'a name without a value': '400161',
    'padding of a whole octet': `40016183${huffman(Buffer.from('ab')).toString('hex')}ff`,
    'padding that is not ones': '4001618100',
    EOS: '40016184ffffffff',
    'a table larger than 4,096': '3fe21f',
    'a table size behind a line': '8220',
    'a table size that is cut': '3f',
  }
  for (const [what, hex] of Object.entries(invalid)) assert.equal(decode(new HpackDecoder(LIMIT), hex), INVALID, what)
})

test('HpackDecoder takes changes of the table size in front of a block, also several', () => {
  const decoder = new HpackDecoder(LIMIT)
  decode(decoder, '4001610162')
  assert.deepEqual(decode(decoder, 'be'), [['a', 'b']])
  // 0 empties it, and 4,096 is allowed again
  assert.deepEqual(decode(decoder, '203fe11f82'), [[':method', 'GET']])
  assert.equal(decode(decoder, 'be'), INVALID)
})

test('HpackDecoder evicts the oldest entries, and all for an entry that is larger than the table (RFC 7541 §4.4)', () => {
  const decoder = new HpackDecoder(LIMIT)
  // two entries of 34 octets fit into 70
  assert.deepEqual(decode(decoder, `3f2740016101624001630164`), [
    ['a', 'b'],
    ['c', 'd'],
  ])
  assert.deepEqual(decode(decoder, 'bf'), [['a', 'b']])
  decode(decoder, '4001650166')
  assert.deepEqual(decode(decoder, 'bf'), [['c', 'd']])
  assert.equal(decode(new HpackDecoder(LIMIT), 'c0'), INVALID)
  const large = Buffer.concat([Buffer.from('40016129', 'hex'), Buffer.alloc(41, 'x')])
  assert.deepEqual(decode(decoder, large), [['a', 'x'.repeat(41)]])
  assert.equal(decode(decoder, 'be'), INVALID)
})

test('HpackDecoder says that a list is too large, and decodes the rest for the table (conformance H2-42)', () => {
  const decoder = new HpackDecoder(100)
  const long = Buffer.concat([Buffer.from('00016164', 'hex'), Buffer.alloc(100, 'x')])
  assert.equal(decode(decoder, Buffer.concat([long, Buffer.from('4001610162', 'hex')])), TOO_LARGE)
  assert.deepEqual(decode(decoder, 'be'), [['a', 'b']])
})

test('a block that refers again and again to a large entry keeps only what is within the limit', () => {
  const decoder = new HpackDecoder(LIMIT)
  // 4,000 octets, within the table
  const literal = Buffer.concat([Buffer.from('4001617fa11e', 'hex'), Buffer.alloc(4000, 'x')])
  assert.notEqual(decode(decoder, literal), INVALID)
  const lines: FieldLine[] = []
  const bomb = Buffer.alloc(30_000, 0xbe)
  assert.equal(decoder.decode(bomb, 0, bomb.length, lines), TOO_LARGE)
  assert.ok(lines.length <= 4, `${lines.length} lines`)
})

test('putFields() writes what HpackDecoder reads, in the room that maxFieldsLength() says', () => {
  const character = fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code))
  const text = fc.array(character, { maxLength: 300 }).map((characters) => characters.join(''))
  const name = fc.oneof(fc.constantFrom(':status', 'content-type', 'content-length', 'x'), text)
  fc.assert(
    fc.property(fc.array(fc.tuple(name, fc.oneof(fc.constantFrom('200', ''), text)), { maxLength: 10 }), (fields) => {
      const bytes = Buffer.alloc(maxFieldsLength(fields))
      const end = putFields(bytes, 0, fields)
      assert.ok(end <= bytes.length)
      assert.deepEqual(decode(new HpackDecoder(1e6), bytes.subarray(0, end)), fields)
    }),
  )
  // RFC 7541 §6.2.2: nothing is added to the client's table
  assert.equal(block([['x', 'y']])[0], 0)
})
