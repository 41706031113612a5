import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { MAX_UPSTREAM_URLS } from '../../gateway/config/knobs.ts'
import { entry, only, problems, URLS } from './upstream-source.ts'

describe('the URL of an upstream', () => {
  const cases: readonly (readonly [url: string, protocol: string, host: string, port: number, path: string, name: string])[] = [
    ['udp://192.0.2.1', 'udp', '192.0.2.1', 53, '', '192.0.2.1:53'],
    ['tcp://[2001:DB8:0::1]', 'tcp', '2001:db8::1', 53, '', '[2001:db8::1]:53'],
    ['udp://[fe80::1%eth0]:5353', 'udp', 'fe80::1%eth0', 5353, '', '[fe80::1%eth0]:5353'],
    ['tls://DNS.Example', 'tls', 'dns.example', 853, '', 'dns.example:853'],
    ['quic://dns.example:8853', 'quic', 'dns.example', 8853, '', 'dns.example:8853'],
    ['https://192.0.2.1', 'https', '192.0.2.1', 443, '/dns-query', '192.0.2.1:443'],
    ['https://dns.example/', 'https', 'dns.example', 443, '/', 'dns.example:443'],
    ['https://[2001:db8::1]:8443/a/~b%20c', 'https', '2001:db8::1', 8443, '/a/~b%20c', '[2001:db8::1]:8443'],
    ['h3://dns.example:65535/q', 'h3', 'dns.example', 65_535, '/q', 'dns.example:65535'],
  ]
  for (const [url, protocol, host, port, path, name] of cases) {
    test(`is read: ${url}`, () => {
      for (const source of [`upstreams: ["${url}"]`, `upstreams: [{ url: "${url}" }]`, `upstreams: [{ url: ["${url}"] }]`]) {
        const upstream = only(source)
        assert.deepEqual([upstream.urls, upstream.name], [[{ protocol, host, port, path }], name], source)
      }
    })
  }

  for (const url of [
    '192.0.2.1',
    'dns.example:853',
    'doh://dns.example',
    'http://dns.example',
    'tls:/dns.example',
    'tls://',
    'tls://dns..example',
    'tls://1.2.3',
    'tls://dns_example',
    'tls://dns.example:',
    'tls://dns.example:0',
    'tls://dns.example:65536',
    'tls://dns.example/dns-query',
    'quic://dns.example/',
    'udp://0.0.0.0',
    'udp://[::]',
    'udp://[192.0.2.1]',
    'udp://[dns.example]',
    'https://dns.example/dns-query{?dns}',
    'https://dns.example/dns-query?dns=x',
    'https://dns.example/dns-query#x',
    'https://dns.example/a b',
    'https://dns.example/é',
    'https://dns.example@192.0.2.1/',
  ]) {
    test(`is refused: ${url}`, () => {
      const received = url.includes('@') ? 'a URL with a user name or password' : JSON.stringify(url)
      assert.deepEqual(problems(`upstreams: ['${url}']`), [`1:13: upstreams[0]: ${URLS}: received ${received}`])
      assert.deepEqual(problems(`upstreams: [{ url: '${url}' }]`), [`1:20: upstreams[0].url: ${URLS}: received ${received}`])
    })
  }

  test('needs brackets around an IPv6 address, and says so', () => {
    const brackets = 'expected brackets around an IPv6 address, as in'
    for (const url of ['tls://2001:db8::1', 'tls://2001:db8::1:853', 'tls://::1', 'tls://2001:db8:0:0:0:0:0:1']) {
      assert.deepEqual(problems(`upstreams: ["${url}"]`), [`1:13: upstreams[0]: ${brackets} tls://[2001:db8::1]: received "${url}"`])
    }
    assert.deepEqual(problems('upstreams: [{ url: [udp://192.0.2.1, "udp://::1"] }]'), [
      `1:38: upstreams[0].url[1]: ${brackets} udp://[2001:db8::1]: received "udp://::1"`,
    ])
    // no address at all
    assert.deepEqual(problems('upstreams: ["tls://2001:db8:::1"]'), [`1:13: upstreams[0]: ${URLS}: received "tls://2001:db8:::1"`])
  })
})

describe('the ways to an upstream', () => {
  test('stay in their order, and the first one names it', () => {
    const { name, urls } = only('upstreams: [{ url: [quic://dns.example, https://dns.example, "tls://192.0.2.1", udp://192.0.2.1] }]')
    assert.equal(name, 'dns.example:853')
    assert.deepEqual(
      urls.map(({ protocol }) => protocol),
      ['quic', 'https', 'tls', 'udp'],
    )
  })

  test('are one to six different ones', () => {
    const many = (count: number) => Array.from({ length: count }, (_, i) => `udp://192.0.2.${i}`).join(', ')
    assert.equal(only(entry(`url: [${many(MAX_UPSTREAM_URLS)}]`)).urls.length, 6)
    assert.deepEqual(problems(entry(`url: [${many(7)}]`)), ['3:10: upstreams[0].url: expected at most 6 URLs: received a list'])
    assert.deepEqual(problems(entry('url: []')), ['3:10: upstreams[0].url: expected at least one URL: received an empty list'])
    assert.deepEqual(problems(entry('url: [udp://192.0.2.1, tcp://192.0.2.1, "udp://192.0.2.1:53"]')), [
      '3:45: upstreams[0].url[2]: expected each URL only once: received "udp://192.0.2.1:53", which url[0] has',
    ])
  })

  test('are pointed at one by one where they are wrong', () => {
    assert.deepEqual(problems(entry('url:', '  - udp://192.0.2.1', '  - foo', '  - 5')), [
      `5:9: upstreams[0].url[1]: ${URLS}: received "foo"`,
      `6:9: upstreams[0].url[2]: ${URLS}: received 5`,
    ])
    for (const [value, received] of [
      ['5', '5'],
      ['{ udp: 192.0.2.1 }', 'a map'],
      ['', 'nothing'],
    ] as const) {
      assert.deepEqual(problems(entry(`url: ${value}`)), [
        `3:10: upstreams[0].url: ${URLS}, or a list of such URLs, best first: received ${received}`,
      ])
    }
    assert.match(problems('upstreams:\n  - name: one\n').join(), /^2:5: upstreams\[0\]\.url: .*: received nothing$/)
  })
})
