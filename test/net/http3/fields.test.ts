import assert from 'node:assert/strict'
import test from 'node:test'
import { type Field, NO_CONTENT_LENGTH } from '../../../net/fields.ts'
import { areValidTrailers, readRequest, readResponse } from '../../../net/http3/fields.ts'

const METHOD: Field = [':method', 'POST']
const SCHEME: Field = [':scheme', 'https']
const AUTHORITY: Field = [':authority', 'dns.example']
const PATH: Field = [':path', '/dns-query']
const REQUEST: readonly Field[] = [METHOD, SCHEME, AUTHORITY, PATH]
const STATUS: Field = [':status', '200']

function withFields(...fields: Field[]): readonly Field[] {
  return [...REQUEST, ...fields]
}

function isRequest(lines: readonly Field[]): boolean {
  return readRequest(lines) !== null
}

/** The request with another value of a pseudo-field. */
function withPseudo(name: string, value: string): readonly Field[] {
  return REQUEST.map((field) => (field[0] === name ? ([name, value] as const) : field))
}

test('readRequest() gives pseudo-fields and fields', () => {
  const request = readRequest(withFields(['accept', 'a/b'], ['content-length', '33'], ['accept', 'c/d;q=0'], ['x', '']))
  assert.ok(request)
  const { method, scheme, authority, path, contentLength, fields } = request
  assert.deepEqual([method, scheme, authority, path, contentLength], ['POST', 'https', 'dns.example', '/dns-query', 33])
  assert.equal(fields.get('accept'), 'a/b, c/d;q=0')
  assert.equal(fields.get('x'), '')
  assert.equal(fields.get('content-type'), null)
  assert.equal(readRequest(REQUEST)?.contentLength, NO_CONTENT_LENGTH)
})

test('readRequest() refuses a request without a mandatory pseudo-field, or with one twice', () => {
  for (const field of REQUEST) {
    assert.equal(isRequest(REQUEST.filter((other) => other !== field)), false, `without ${field[0]}`)
    assert.equal(isRequest([field, ...REQUEST]), false, `${field[0]} twice`)
  }
  assert.equal(isRequest([]), false)
})

test('readRequest() refuses unknown and late pseudo-fields', () => {
  for (const name of [':protocol', ':status', ':', ':Method']) assert.equal(isRequest(withFields([name, 'x'])), false, name)
  assert.equal(isRequest([METHOD, SCHEME, PATH, ['accept', '*/*'], AUTHORITY]), false)
})

test('readRequest() refuses pseudo-fields with impossible values', () => {
  for (const method of ['', 'GE T', 'GET\x7f', 'G:T']) assert.equal(isRequest(withPseudo(':method', method)), false, method)
  assert.equal(isRequest(withPseudo(':scheme', '')), false)
  for (const path of ['', 'dns-query', '*', 'https://dns.example/']) assert.equal(isRequest(withPseudo(':path', path)), false, path)
  assert.equal(isRequest([[':method', 'OPTIONS'], SCHEME, AUTHORITY, [':path', '*']]), true)
  assert.equal(isRequest(withPseudo(':authority', 'user@dns.example')), false)
})

test('readRequest() wants one authority, in :authority or Host', () => {
  const bare = [METHOD, SCHEME, PATH]
  assert.equal(readRequest([...bare, ['host', 'dns.example']])?.authority, 'dns.example')
  assert.equal(readRequest(withFields(['host', 'dns.example']))?.authority, 'dns.example')
  assert.equal(isRequest(withFields(['host', 'other.example'])), false)
  assert.equal(isRequest(withFields(['host', ''])), false)
  assert.equal(isRequest(withPseudo(':authority', '')), false)
  assert.equal(isRequest([...bare, ['host', '']]), false)
  assert.equal(isRequest([...bare, [':authority', ''], ['host', 'dns.example']]), false)
})

test('readRequest() wants exactly :method and :authority of CONNECT', () => {
  const connect: Field = [':method', 'CONNECT']
  const request = readRequest([connect, [':authority', 'dns.example:443']])
  assert.deepEqual([request?.method, request?.authority, request?.scheme, request?.path], ['CONNECT', 'dns.example:443', '', ''])
  assert.equal(isRequest([connect]), false)
  assert.equal(isRequest([connect, ['host', 'dns.example']]), false)
  assert.equal(isRequest([connect, AUTHORITY, SCHEME]), false)
  assert.equal(isRequest([connect, AUTHORITY, PATH]), false)
})

test('readRequest() refuses names that are no lower-case tokens', () => {
  for (const name of ['', 'Accept', 'a b', 'a:b', 'a\0', 'a\x7f', 'a\xff', 'a\n', '(a)'])
    assert.equal(isRequest(withFields([name, 'x'])), false, name)
  assert.equal(isRequest(withFields(["!#$%&'*+-.^_`|~09az", 'x'])), true)
})

test('readRequest() refuses values with control characters that end lines, or white space around them', () => {
  for (const value of ['a\0b', 'a\rb', 'a\nb', 'a\n', ' a', '\ta', 'a ', 'a\t', ' ']) {
    assert.equal(isRequest(withFields(['x', value])), false, JSON.stringify(value))
    assert.equal(isRequest(withPseudo(':path', `/${value}`)), false, JSON.stringify(value))
  }
  assert.equal(isRequest(withFields(['x', 'a \t\xff b'])), true)
})

test('readRequest() refuses fields that are about an HTTP/1.1 connection', () => {
  for (const name of ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade']) {
    assert.equal(isRequest(withFields([name, 'x'])), false, name)
  }
  assert.equal(isRequest(withFields(['te', 'trailers'])), true)
  assert.equal(isRequest(withFields(['te', 'gzip'])), false)
})

test('readRequest() wants one Content-Length in digits, however often', () => {
  const lengthOf = (...values: string[]) =>
    readRequest(withFields(...values.map((value) => ['content-length', value] as const)))?.contentLength
  assert.equal(lengthOf('0'), 0)
  assert.equal(lengthOf('33', '33'), 33)
  assert.equal(lengthOf('33,33', '33'), 33)
  for (const value of ['', '-1', '+1', '1.0', '0x1', '1 1', '1;', '\xb2', '1,']) assert.equal(lengthOf(value), undefined, value)
  assert.equal(lengthOf('33', '34'), undefined)
  assert.equal(lengthOf('33,3'), undefined)
  assert.equal(lengthOf('3,33'), undefined)
})

test('readResponse() gives the status', () => {
  const response = readResponse([STATUS, ['content-type', 'a/b'], ['content-length', '5']])
  assert.deepEqual([response?.status, response?.contentLength, response?.fields.get('content-type')], [200, 5, 'a/b'])
})

test('readResponse() disregards the length of a response that has no content', () => {
  for (const status of ['204', '304']) {
    assert.equal(
      readResponse([
        [':status', status],
        ['content-length', '5'],
      ])?.contentLength,
      NO_CONTENT_LENGTH,
    )
  }
})

test('readResponse() refuses malformed responses', () => {
  for (const status of ['', '20', '2000', '099', '600', '2x0', '101']) assert.equal(readResponse([[':status', status]]), null, status)
  assert.equal(readResponse([]), null)
  assert.equal(readResponse([STATUS, STATUS]), null)
  assert.equal(readResponse([['x', 'y'], STATUS]), null)
  assert.equal(readResponse([STATUS, METHOD]), null)
  assert.equal(readResponse([STATUS, ['connection', 'close']]), null)
  assert.equal(readResponse([STATUS, ['content-length', 'x']]), null)
})

test('areValidTrailers() allows no pseudo-field', () => {
  assert.equal(areValidTrailers([['x', 'y']]), true)
  assert.equal(areValidTrailers([]), true)
  assert.equal(areValidTrailers([STATUS]), false)
  assert.equal(areValidTrailers([['X', 'y']]), false)
})
