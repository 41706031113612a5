import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { nameText } from '../../dns/text.ts'
import { parseQuery, type QueryOptions } from '../../gateway/cli/query-arguments.ts'

const NONE: QueryOptions = { rd: true, edns: true }

function parse(words: string, options: Partial<QueryOptions> = {}) {
  return parseQuery(words === '' ? [] : words.split(' '), { ...NONE, ...options })
}

/** Name, type, class. */
function asked(words: string): unknown[] {
  const { name, type, class: klass } = parse(words)
  return [nameText(name, 0), type, klass]
}

function refused(words: string, message: RegExp, options: Partial<QueryOptions> = {}): void {
  assert.throws(() => parse(words, options), { name: 'OperationalError', code: 'ATLAS_USAGE', message })
}

describe('the words of a query', () => {
  test('come in any order', () => {
    for (const words of ['example.com AAAA CH', 'CH aaaa example.com', 'AAAA @tcp://::1 example.com ch']) {
      assert.deepEqual(asked(words), ['example.com.', 28, 3], words)
    }
  })

  test('have defaults: the address of a name, the name servers of the root, the own gateway', () => {
    assert.deepEqual(asked('example.com'), ['example.com.', 1, 1])
    assert.deepEqual(asked(''), ['.', 2, 1])
    assert.deepEqual(asked('MX'), ['.', 15, 1])
    assert.equal(parse('').server.text, 'udp://127.0.0.1:8053')
  })

  test('take numbers for types and classes', () => {
    assert.deepEqual(asked('x TYPE65280 CLASS42'), ['x.', 65280, 42])
    assert.deepEqual(asked('x ANY ANY'), ['x.', 255, 255])
  })

  test('take a name that looks like a type with its trailing dot', () => {
    assert.deepEqual(asked('mx. MX'), ['mx.', 15, 1])
  })

  test('take names beyond ASCII, and escapes', () => {
    assert.deepEqual(asked('bücher.example'), ['xn--bcher-kva.example.', 1, 1])
    assert.deepEqual(asked('a\\.b.example'), ['a\\.b.example.', 1, 1])
  })

  test('are refused when they make no query', () => {
    refused('a.example b.example', /neither a type nor a class, and there is a name already \(a\.example\): received b\.example$/)
    refused('x A MX', /two types or two classes.*received MX$/)
    refused('x TYPE65536', /received TYPE65536$/)
    refused('x CLASS65536', /received CLASS65536$/)
    refused('@::1 @::2', /two servers: received @::2$/)
    for (const name of ['a..b', 'a'.repeat(64), 'a\\', 'ü..b', '\u0007']) refused(name, /no domain name: received /)
  })
})

describe('the server of a query', () => {
  test('is a URL, or a host for UDP', () => {
    const texts: readonly (readonly [word: string, text: string])[] = [
      ['@192.0.2.1', 'udp://192.0.2.1:53'],
      ['@dns.example:5353', 'udp://dns.example:5353'],
      ['@::1', 'udp://[::1]:53'],
      ['@[::1]:5353', 'udp://[::1]:5353'],
      ['@fe80::1%eth0', 'udp://[fe80::1%eth0]:53'],
      ['@UDP://192.0.2.1/', 'udp://192.0.2.1:53'],
      ['@tcp://[2001:db8::1]', 'tcp://[2001:db8::1]:53'],
      ['@tls://Dns.Example', 'tls://dns.example:853'],
      ['@https://dns.example/q', 'https://dns.example/q'],
      ['@https://dns.example:8443', 'https://dns.example:8443/dns-query'],
      ['@https://dns.example/', 'https://dns.example/'],
      ['@https://dns.example/dns-query{?dns}', 'https://dns.example/dns-query'],
      ['@quic://dns.example', 'quic://dns.example:853'],
      ['@QUIC://[::1]:8853', 'quic://[::1]:8853'],
      ['@h3://Dns.Example:443', 'h3://dns.example/dns-query'],
      ['@h3://[::1]:8443/q?k=v', 'h3://[::1]:8443/q?k=v'],
      ['@H3://dns.example/dns-query{?dns}', 'h3://dns.example/dns-query'],
    ]
    for (const [word, text] of texts) assert.equal(parse(word).server.text, text)
  })

  test('has the host apart, without brackets', () => {
    for (const word of ['@https://[::1]/', '@h3://[::1]/', '@quic://::1', '@tls://[::1]', '@::1'])
      assert.equal(parse(word).server.host, '::1')
    const ports = ['https://x/', 'https://x:1/', 'h3://x', 'quic://x'].map((word) => parse(`@${word}`).server.port)
    assert.deepEqual(ports, [443, 1, 443, 853])
  })

  test('is refused when there is no way to ask it', () => {
    refused('@gopher://x', /unknown protocol, use one of udp, tcp, tls, https, quic, h3: received @gopher:\/\/x$/)
    for (const word of ['@', '@tls://', '@x:0', '@x:65536', '@x:1:2', '@[x]', '@tcp://x/path', '@u@x']) refused(word, /received @/)
    for (const scheme of ['https', 'h3']) {
      for (const rest of ['', 'u:p@x/', 'x/#y', 'x:99999/']) refused(`@${scheme}://${rest}`, new RegExp(`received @${scheme}:`))
    }
  })
})

describe('the options of a query', () => {
  test('are complete without any', () => {
    assert.deepEqual(parse('@tls://dns.example x'), {
      server: { protocol: 'tls', host: 'dns.example', port: 853, text: 'tls://dns.example:853' },
      name: Uint8Array.of(1, 0x78, 0),
      type: 1,
      class: 1,
      id: null,
      recursionDesired: true,
      checkingDisabled: false,
      edns: { udpSize: 1232, dnssecOk: false, padding: true },
      timeoutMs: 5_000,
      trust: { caFile: null, insecure: false, serverName: 'dns.example' },
      get: false,
      ignoreTruncation: false,
      output: 'text',
    })
  })

  test('pad on encrypted transports unless they say otherwise', () => {
    const padding = (words: string, options: Partial<QueryOptions> = {}) => parse(words, options).edns?.padding
    assert.deepEqual(
      ['@x', '@tcp://x', '@tls://x', '@https://x', '@quic://x', '@h3://x'].map((word) => padding(word)),
      [false, false, true, true, true, true],
    )
    assert.equal(padding('@x', { padding: true }), true)
    assert.equal(padding('@tls://x', { padding: false }), false)
  })

  test('are read from their texts', () => {
    const { timeoutMs, id, edns } = parse('', { timeout: '2m', id: '65535', bufsize: '0', dnssec: true })
    assert.deepEqual([timeoutMs, id, edns], [120_000, 65_535, { udpSize: 0, dnssecOk: true, padding: false }])
    assert.deepEqual([parse('', { timeout: '1ms' }).timeoutMs, parse('', { timeout: '3s' }).timeoutMs], [1, 3_000])
    assert.equal(parse('', { edns: false }).edns, null)
  })

  test('are refused when they are no number or out of range', () => {
    for (const timeout of ['', '5', '0s', '-1s', '1h', '11m', '1.5s', 's']) refused('', /--timeout .*: received /, { timeout })
    for (const number of ['', '65536', '-1', '1e3', 'x']) {
      refused('', /--id is a number between 0 and 65535: received /, { id: number })
      refused('', /--bufsize is a number between 0 and 65535: received /, { bufsize: number })
    }
  })

  test('are refused where they have no meaning', () => {
    refused('@x', /--ca has a meaning with tls, https, quic, h3 only: received udp$/, { ca: 'ca.pem' })
    refused('@tcp://x', /--insecure has a meaning/, { insecure: true })
    refused('@x', /--server-name has a meaning/, { serverName: 'y' })
    refused('@tls://x', /--get has a meaning with https, h3 only/, { get: true })
    refused('@tls://x', /--ignore-tc has a meaning with udp only/, { ignoreTc: true })
    for (const part of [{ dnssec: true }, { padding: true }, { bufsize: '512' }] as const)
      refused('', /part of EDNS/, { edns: false, ...part })
    refused('', /one of --short and --json/, { short: true, json: true })
    refused('@tls://x', /one of --insecure and --ca/, { insecure: true, ca: 'ca.pem' })
  })
})
