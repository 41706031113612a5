import assert from 'node:assert/strict'
import test from 'node:test'
import type { WebRequest } from '../../../transports/web/exchange.ts'
import { originFields, timesSeen } from '../../../transports/web/request-fields.ts'
import { clientFields, clientTrailers, linesOf } from '../../../transports/web/response-fields.ts'
import { CLIENT, FakeExchange } from './harness.ts'

const OURS = ['host', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'forwarded']

/** What is forwarded, without what we say ourselves. */
function forwarded(request: Partial<WebRequest>): [string, string][] {
  return sent(request).filter(([name]) => !OURS.includes(name))
}

function sent(request: Partial<WebRequest>): [string, string][] {
  const lines = originFields(new FakeExchange(request).request)
  return Array.from({ length: lines.length / 2 }, (_, i) => [lines[2 * i] ?? '', lines[2 * i + 1] ?? ''])
}

function lineOf(request: Partial<WebRequest>, name: string): string | undefined {
  const values = sent(request).filter((line) => line[0] === name)
  assert.ok(values.length <= 1)
  return values[0]?.[1]
}

test('what is about one connection is not forwarded (RFC 9110 §7.6.1)', () => {
  const fields = [
    ['accept', '*/*'],
    ['connection', 'close, X-Own , keep-alive'],
    ['connection', 'authorization'],
    ['x-own', '1'],
    ['connection', 'x_own_too'],
    ['x_own_too', '1'],
    ['x-own-too', '1'],
    ['authorization', 'Basic eA=='],
    ['keep-alive', 'timeout=5'],
    ['proxy-connection', 'keep-alive'],
    ['proxy-authorization', 'Basic eA=='],
    ['te', 'trailers'],
    ['trailer', 'x-sum'],
    ['transfer-encoding', 'chunked'],
    ['transfer_encoding', 'chunked'],
    ['upgrade', 'h2c'],
    ['http2-settings', 'AAMAAABk'],
    ['expect', '100-continue'],
    ['content-length', '5'],
    ['x-kept', 'a'],
    ['x-kept', 'b'],
  ] as const
  assert.deepEqual(forwarded({ fields }), [
    ['accept', '*/*'],
    ['x-kept', 'a'],
    ['x-kept', 'b'],
  ])
})

test('nobody else says who the client is', () => {
  const names = [
    'forwarded',
    'x-forwarded-for',
    'x_forwarded_for',
    'x-forwarded-host',
    'x-forwarded-port',
    'x-real-ip',
    'x_real_ip',
    'proxy',
  ]
  const fields = names.map((name) => [name, '203.0.113.9'] as const)
  assert.deepEqual(forwarded({ fields }), [])
  assert.equal(lineOf({ fields }, 'x-forwarded-for'), '192.0.2.7')
  assert.equal(lineOf({ fields }, 'x-forwarded-proto'), 'https')
  assert.equal(lineOf({ fields }, 'x-forwarded-host'), 'dns.example')
  assert.equal(lineOf({ fields }, 'forwarded'), 'for=192.0.2.7;host="dns.example";proto=https')
})

test('Connection cannot take away what we say', () => {
  const fields = [['connection', 'x-forwarded-for, forwarded, host, via']] as const
  assert.deepEqual(
    sent({ fields }).map(([name]) => name),
    OURS,
  )
})

test('Forwarded quotes what needs it (RFC 7239 §4, §6)', () => {
  const client = { ...CLIENT, address: '2001:db8::7' }
  assert.equal(lineOf({ client, authority: '[::1]:8443' }, 'forwarded'), 'for="[2001:db8::7]";host="[::1]:8443";proto=https')
  assert.equal(lineOf({ authority: 'x";for=9.9.9.9;by="\\' }, 'forwarded'), 'for=192.0.2.7;host="x\\";for=9.9.9.9;by=\\"\\\\";proto=https')
})

test('the origin sees the name that the client asked for', () => {
  const fields = [['host', 'other.example']] as const
  assert.equal(lineOf({ fields, authority: 'dns.example:8443' }, 'host'), 'dns.example:8443')
})

test('cookies are one line (RFC 9113 §8.2.3)', () => {
  const fields = [
    ['cookie', 'a=1'],
    ['accept', '*/*'],
    ['cookie', 'b=2; c=3'],
  ] as const
  assert.equal(lineOf({ fields }, 'cookie'), 'a=1; b=2; c=3')
  assert.equal(lineOf({ fields: [...fields, ['connection', 'cookie']] }, 'cookie'), undefined)
})

test('Via grows by us (RFC 9110 §7.6.3)', () => {
  assert.equal(lineOf({}, 'via'), '2 atlas')
  const fields = [
    ['via', '1.0 fred'],
    ['via', '1.1 p.example'],
  ] as const
  assert.equal(lineOf({ fields, version: '1.1' }, 'via'), '1.0 fred, 1.1 p.example, 1.1 atlas')
})

test('we know where we have been', () => {
  assert.equal(timesSeen([]), 0)
  assert.equal(
    timesSeen([
      ['via', '1.1 atlas, 2 atlas'],
      ['via', 'HTTP/1.1 atlas (x)'],
    ]),
    3,
  )
  assert.equal(timesSeen([['via', '1.1 atlas.example, 1.1 my-atlas, 2 atlas2']]), 0)
})

test('Max-Forwards counts down for OPTIONS (RFC 9110 §7.6.2)', () => {
  const fields = [['max-forwards', '3']] as const
  assert.equal(lineOf({ method: 'OPTIONS', fields }, 'max-forwards'), '2')
})

test('of a response, what is about one connection and where else the origin is stays here', () => {
  const lines = [
    ['connection', 'keep-alive, x-own'],
    ['x-own', '1'],
    ['keep-alive', 'timeout=5'],
    ['transfer-encoding', 'chunked'],
    ['upgrade', 'h2c'],
    ['proxy-authenticate', 'Basic'],
    ['trailer', 'x-sum'],
    ['alt-svc', 'h2=":9"'],
    ['date', 'then'],
    ['set-cookie', 'a=1'],
    ['set-cookie', 'b=2'],
    ['content-encoding', 'gzip'],
    ['via', '1.1 cache'],
  ] as const
  assert.deepEqual(clientFields(lines, 200), [
    ['date', 'then'],
    ['set-cookie', 'a=1'],
    ['set-cookie', 'b=2'],
    ['content-encoding', 'gzip'],
    ['via', '1.1 cache, 1.1 atlas'],
  ])
})

test('a response has a date, and only one with content a length (RFC 9110 §6.6.1, §8.6)', () => {
  const names = (status: number) => clientFields([['content-length', '0']], status).map(([name]) => name)
  assert.deepEqual(names(200), ['content-length', 'date', 'via'])
  assert.deepEqual(names(304), ['content-length', 'date', 'via'])
  assert.deepEqual(names(204), ['date', 'via'])
  assert.deepEqual(names(103), ['via'])
})

test('lines are read as octets; a line that no version lets through is none', () => {
  assert.deepEqual(linesOf([Buffer.from('X-A'), Buffer.from('\xe9 \t', 'latin1')]), [['x-a', '\xe9']])
  assert.deepEqual(linesOf(null), [])
  for (const value of ['a\0b', 'a\rb', 'a\nb', 'a\x01b', 'a\x7fb']) assert.equal(linesOf(['x', value]), null)
  for (const name of ['x y', 'x:', '', 'x\n', ':status']) assert.equal(linesOf([name, 'v']), null)
})

test('trailers say nothing that would have had to be known before (RFC 9110 §6.5.1)', () => {
  const raw = [
    'x-sum',
    '1',
    'content-length',
    '4',
    'transfer-encoding',
    'chunked',
    'set-cookie',
    'a=1',
    'connection',
    'x-own',
    'x-own',
    '1',
  ]
  assert.deepEqual(clientTrailers(raw), [['x-sum', '1']])
  assert.deepEqual(clientTrailers(['x', 'a\nb']), [])
})
