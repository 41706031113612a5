import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import test from 'node:test'
import fc from 'fast-check'
import { HuffmanDecoder, INVALID, TOO_LONG } from '../../net/huffman.ts'
import { CODES, huffman, packed } from './huffman-code.ts'

const decoder = new HuffmanDecoder(2000)

function decode(bytes: Uint8Array): Buffer | number {
  const length = decoder.decode(bytes, 0, bytes.length)
  return length < 0 ? length : Buffer.from(decoder.out.subarray(0, length))
}

/** RFC 7541 appendices C.4 and C.6. */
const EXAMPLES: readonly [text: string, hex: string][] = [
  ['www.example.com', 'f1e3c2e5f23a6ba0ab90f4ff'],
  ['no-cache', 'a8eb10649cbf'],
  ['custom-key', '25a849e95ba97d7f'],
  ['custom-value', '25a849e95bb8e8b4bf'],
  ['302', '6402'],
  ['307', '640eff'],
  ['private', 'aec3771a4b'],
  ['Mon, 21 Oct 2013 20:13:21 GMT', 'd07abe941054d444a8200595040b8166e082a62d1bff'],
  ['Mon, 21 Oct 2013 20:13:22 GMT', 'd07abe941054d444a8200595040b8166e084a62d1bff'],
  ['https://www.example.com', '9d29ad171863c78f0b97c8e9ae82ae43d3'],
  ['gzip', '9bd9ab'],
  [
    'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
    '94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007',
  ],
]

test('HuffmanDecoder decodes the strings of RFC 7541 appendix C', () => {
  for (const [text, hex] of EXAMPLES) assert.deepEqual(decode(Buffer.from(hex, 'hex')), Buffer.from(text))
})

test('HuffmanDecoder decodes all octets', () => {
  const all = Uint8Array.from({ length: 256 }, (_, octet) => octet)
  const coded = huffman(all)
  // of what another implementation (python-hyper/hpack) writes for these octets
  assert.equal(createHash('sha256').update(coded).digest('hex'), '612dcf67552ffb6affc04a2ab910a4d347e4ad06e4a43544871071d831a2c076')
  assert.deepEqual(decode(coded), Buffer.from(all))
  for (const octet of all) assert.deepEqual(decode(huffman(Uint8Array.of(octet))), Buffer.of(octet))
})

test('HuffmanDecoder decodes what lies between two offsets', () => {
  const bytes = Buffer.concat([Buffer.of(0), huffman(Buffer.from('no-cache')), Buffer.of(0)])
  assert.equal(decoder.decode(bytes, 1, bytes.length - 1), 8)
  assert.equal(decoder.decode(bytes, 1, 1), 0)
})

test('HuffmanDecoder refuses padding that is longer than seven bits or not the beginning of EOS', () => {
  const a = CODES[0x61] ?? ''
  assert.deepEqual(decode(packed(`${a}111`)), Buffer.from('a'))
  assert.equal(decode(packed(`${a}110`)), INVALID)
  assert.equal(decode(packed(`${a}000`)), INVALID)
  assert.equal(decode(packed(`${a}11111111111`)), INVALID)
  assert.equal(decode(Buffer.of(0xff)), INVALID)
  const seven = Array.from(Buffer.from('?af%'), (octet) => CODES[octet]).join('')
  assert.deepEqual(decode(packed(seven.padEnd(32, '1'))), Buffer.from('?af%'))
  assert.equal(decode(packed(seven.padEnd(40, '1'))), INVALID)
})

test('HuffmanDecoder refuses EOS in a string', () => {
  const [a = '', eos = ''] = [CODES[0x61], CODES[256]]
  assert.equal(decode(packed(`${a}${eos}${a}`)), INVALID)
  assert.equal(decode(packed(`${eos}11`)), INVALID)
})

test('HuffmanDecoder stops where its room ends', () => {
  const small = new HuffmanDecoder(3)
  assert.equal(small.decode(huffman(Buffer.from('abc')), 0, 2), 3)
  const coded = huffman(Buffer.from('abcd'))
  assert.equal(small.decode(coded, 0, coded.length), TOO_LONG)
})

test('HuffmanDecoder decodes any octets, and only what an encoder writes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (octets) => {
      assert.deepEqual(decode(huffman(octets)), Buffer.from(octets))
      const decoded = decode(octets)
      if (typeof decoded !== 'number') assert.deepEqual(huffman(decoded), Buffer.from(octets))
    }),
  )
})
