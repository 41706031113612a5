import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { stringify } from 'yaml'
import { type Config, STRATEGIES } from '../../gateway/config/config.ts'
import { formOf } from '../../gateway/config/form.ts'
import { MAX_UPSTREAMS } from '../../gateway/config/knobs.ts'
import { entry, load, only, problems, URLS } from './upstream-source.ts'

const PIN = `${'A'.repeat(43)}=`
const LONG_HOST = `${`${'a'.repeat(62)}.`.repeat(4)}b`
/** One URL of each kind. */
const KINDS = ['udp://192.0.2.1', 'tcp://192.0.2.1', 'tls://192.0.2.1', 'https://dns.example', 'h3://dns.example', 'quic://dns.example']

describe('the settings of an upstream', () => {
  const WHOLE = 'expected a whole number from'
  const UNIT = 'expected a number with its unit (ms, s, m, h, d), such as'
  const FILE = 'expected the path of a PEM file: received'
  const cases: readonly (readonly [setting: string, problem: string])[] = [
    ['weight: 0', `4:13: upstreams[0].weight: ${WHOLE} 1 to 1000: received 0`],
    ['weight: 1001', `4:13: upstreams[0].weight: ${WHOLE} 1 to 1000: received 1001`],
    ['weight: 1.5', `4:13: upstreams[0].weight: ${WHOLE} 1 to 1000: received 1.5`],
    ['weight: "2"', `4:13: upstreams[0].weight: ${WHOLE} 1 to 1000: received "2"`],
    ['connections: 0', `4:18: upstreams[0].connections: ${WHOLE} 1 to 1000: received 0`],
    ['connections: 1001', `4:18: upstreams[0].connections: ${WHOLE} 1 to 1000: received 1001`],
    ['pipelining: 0', `4:17: upstreams[0].pipelining: ${WHOLE} 1 to 10000: received 0`],
    ['pipelining: 10001', `4:17: upstreams[0].pipelining: ${WHOLE} 1 to 10000: received 10001`],
    ['maxAge: 60', `4:13: upstreams[0].maxAge: ${UNIT} "1h": received 60`],
    ['maxAge: 999ms', '4:13: upstreams[0].maxAge: expected a duration from 1s to 1d, such as "1h": received "999ms"'],
    ['maxAge: 25h', '4:13: upstreams[0].maxAge: expected a duration from 1s to 1d, such as "1h": received "25h"'],
    ['idle: 0', `4:11: upstreams[0].idle: ${UNIT} "30s": received 0`],
    ['idle: 61m', '4:11: upstreams[0].idle: expected a duration from 1s to 1h, such as "30s": received "61m"'],
    ['source: eth0', '4:13: upstreams[0].source: expected an IP address of this machine: received "eth0"'],
    ['source: 0.0.0.0', '4:13: upstreams[0].source: expected an IP address of this machine: received "0.0.0.0"'],
    ['source: 192.0.2.9:53', '4:13: upstreams[0].source: expected an IP address of this machine: received "192.0.2.9:53"'],
    ['source: "2001:db8::9"', '4:13: upstreams[0].source: expected an address of the same family as in url: received "2001:db8::9"'],
    ['socks: proxy.example:1080', '4:12: upstreams[0].socks: expected "ip:port" of a SOCKS5 proxy: received "proxy.example:1080"'],
    ['socks: 127.0.0.1', '4:12: upstreams[0].socks: expected "ip:port" of a SOCKS5 proxy: received "127.0.0.1"'],
    ['socks: 127.0.0.1:0', '4:12: upstreams[0].socks: expected "ip:port" of a SOCKS5 proxy: received "127.0.0.1:0"'],
    ['socks: 0.0.0.0:1080', '4:12: upstreams[0].socks: expected "ip:port" of a SOCKS5 proxy: received "0.0.0.0:1080"'],
    ['randomizeCase: yes', '4:20: upstreams[0].randomizeCase: expected true or false: received "yes"'],
    ['serverName: "*.example"', '4:17: upstreams[0].serverName: expected a host name: received "*.example"'],
    ['clientCertificate: own.pem', '4:24: upstreams[0].clientCertificate: expected a map of settings: received "own.pem"'],
    ['clientCertificate: { cert: a.pem }', `4:24: upstreams[0].clientCertificate.key: ${FILE} nothing`],
    ['clientCertificate: { cert: "", key: b.pem }', `4:32: upstreams[0].clientCertificate.cert: ${FILE} ""`],
    [
      'clientCertificate: { cert: a.pem, key: b.pem, ca: c.pem }',
      '4:51: upstreams[0].clientCertificate.ca: unknown key "ca": expected one of cert, key',
    ],
    ['wieght: 2', '4:5: upstreams[0].wieght: unknown key "wieght": did you mean "weight"?'],
    ['urls: [udp://192.0.2.1]', '4:5: upstreams[0].urls: unknown key "urls": did you mean "url"?'],
  ]
  for (const [setting, problem] of cases) {
    test(`refuse ${setting}`, () => assert.deepEqual(problems(entry('url: tls://192.0.2.1', setting)), [problem]))
  }

  test('refuse several at once, each at its place', () => {
    assert.deepEqual(problems(entry('url: [udp://192.0.2.1, foo]', 'weight: 0', 'wieght: 2')), [
      `3:28: upstreams[0].url[1]: ${URLS}: received "foo"`,
      `4:13: upstreams[0].weight: ${WHOLE} 1 to 1000: received 0`,
      '5:5: upstreams[0].wieght: unknown key "wieght": did you mean "weight"?',
    ])
  })

  test('accept both ends of their ranges', () => {
    const least = only(entry('url: udp://192.0.2.1', 'weight: 1', 'connections: 1', 'pipelining: 1', 'maxAge: 1s', 'idle: 1s'))
    assert.deepEqual([least.weight, least.connections, least.pipelining, least.maxAgeMs, least.idleMs], [1, 1, 1, 1000, 1000])
    const most = only(entry('url: udp://192.0.2.1', 'weight: 1000', 'connections: 1000', 'pipelining: 10000', 'maxAge: 1d', 'idle: 1h'))
    assert.deepEqual(
      [most.weight, most.connections, most.pipelining, most.maxAgeMs, most.idleMs],
      [1000, 1000, 10_000, 86_400_000, 3_600_000],
    )
  })
})

describe('settings of an upstream beside its URLs', () => {
  /** What is said of one setting beside each kind of URL; null: nothing. */
  function saidOf(setting: string, rest: readonly string[] = []): readonly (string | null)[] {
    const key = setting.slice(0, setting.indexOf(':'))
    return KINDS.map((url) => {
      const source = entry(`url: ${url}`, setting, ...rest)
      try {
        load(source)
        return null
      } catch {
        const [line = '', ...others] = problems(source)
        assert.deepEqual(others, [])
        return new RegExp(`^4:\\d+: upstreams\\[0\\]\\.${key}: (.*): received `).exec(line)?.[1] ?? line
      }
    })
  }

  const TLS = 'expected only beside a tls://, https://, h3:// or quic:// url'
  const ONLY_STREAMS = 'expected only tcp://, tls:// and https:// urls beside it'
  const NO_PINS = 'expected no pins beside quic:// and h3://, where they cannot be checked'
  const NOT_SHOWN = 'expected none beside quic:// and h3://, which cannot show it'
  // udp, tcp, tls, https, h3, quic
  const cases: readonly (readonly [setting: string, said: readonly (string | null)[]])[] = [
    ['serverName: other.example', [TLS, TLS, null, null, null, null]],
    ['ca: ca.pem', [TLS, TLS, null, null, null, null]],
    [`pins: [${PIN}]`, [TLS, TLS, null, null, NO_PINS, NO_PINS]],
    ['clientCertificate: { cert: a.pem, key: b.pem }', [TLS, TLS, null, null, NOT_SHOWN, NOT_SHOWN]],
    ['socks: 127.0.0.1:1080', [ONLY_STREAMS, null, null, null, ONLY_STREAMS, ONLY_STREAMS]],
    ['randomizeCase: true', [null, ...Array<string>(5).fill('expected only beside a udp:// url')]],
    ['randomizeCase: false', Array<null>(6).fill(null)],
    ['source: 192.0.2.9', Array<null>(6).fill(null)],
  ]
  for (const [setting, said] of cases) test(setting, () => assert.deepEqual(saidOf(setting), said))

  test('one URL of several is enough for some, and too much for others', () => {
    assert.equal(only(entry('url: [tls://192.0.2.1, udp://192.0.2.1]', 'ca: ca.pem', 'randomizeCase: true')).urls.length, 2)
    assert.deepEqual(problems(entry('url: [tls://192.0.2.1, udp://192.0.2.1]', 'socks: 127.0.0.1:1080')), [
      `4:12: upstreams[0].socks: ${ONLY_STREAMS}: received "127.0.0.1:1080"`,
    ])
    assert.deepEqual(problems(entry('url: [tls://192.0.2.1, quic://dns.example]', `pins: [${PIN}]`)), [
      `4:11: upstreams[0].pins: ${NO_PINS}: received a list`,
    ])
  })

  test('with quic and h3 the name of the server has to be known', () => {
    for (const scheme of ['quic', 'h3']) {
      const named = 'expected the name in the certificate: with quic:// and h3:// an address cannot be verified'
      for (const host of ['192.0.2.1', '[2001:db8::1]']) {
        const url = `${scheme}://${host}`
        assert.deepEqual(problems(entry(`url: "${url}"`)), [`2:5: upstreams[0].serverName: ${named}: received nothing`])
        assert.deepEqual(problems(entry(`url: [tls://192.0.2.1, "${url}"]`)), [`2:5: upstreams[0].serverName: ${named}: received nothing`])
        assert.equal(only(entry(`url: "${url}"`, 'serverName: dns.example')).serverName, 'dns.example')
        const alone = 'expected a host name in it, or a map of url and serverName: with quic:// and h3:// an address cannot be verified'
        assert.deepEqual(problems(`upstreams: ["${url}"]`), [`1:13: upstreams[0]: ${alone}: received "${url}"`])
      }
    }
  })

  test('the source is of the family of whom it connects to', () => {
    const family = 'expected an address of the same family as in'
    assert.deepEqual(problems(entry('url: [udp://192.0.2.1, "udp://[2001:db8::1]"]', 'source: 192.0.2.9')), [
      `4:13: upstreams[0].source: ${family} url: received "192.0.2.9"`,
    ])
    assert.equal(only(entry('url: udp://dns.example', 'source: "2001:DB8::9"')).source, '2001:db8::9')
    assert.equal(only(entry('url: "tcp://[2001:db8::1]"', 'source: 192.0.2.9', 'socks: 192.0.2.8:1')).socks?.port, 1)
    assert.deepEqual(problems(entry('url: tcp://192.0.2.1', 'source: 192.0.2.9', 'socks: "[::1]:1080"')), [
      `4:13: upstreams[0].source: ${family} socks: received "192.0.2.9"`,
    ])
  })
})

describe('the list of upstreams', () => {
  test('has at most 64', () => {
    const many = (count: number) => `upstreams: [${Array.from({ length: count }, (_, i) => `udp://192.0.2.${i}`).join(', ')}]`
    assert.equal(load(many(MAX_UPSTREAMS)).upstreams?.length, 64)
    assert.deepEqual(problems(many(65)), ['1:12: upstreams: expected at most 64 upstreams: received a list'])
  })

  test('has each name once, given or by default', () => {
    const own = 'expected a name of its own: received'
    assert.deepEqual(problems('upstreams: [https://dns.example, h3://dns.example/other]'), [
      `1:34: upstreams[1]: ${own} "dns.example:443", which upstreams[0] has`,
    ])
    assert.deepEqual(problems('upstreams: [{ name: a, url: udp://192.0.2.1 }, { name: a, url: udp://192.0.2.2 }]'), [
      `1:48: upstreams[1]: ${own} "a", which upstreams[0] has`,
    ])
    assert.equal(load('upstreams: [https://dns.example, { name: third, url: h3://dns.example }]').upstreams?.length, 2)
  })

  test('takes the longest host name for a name', () => {
    const host = LONG_HOST
    assert.equal(host.length, 253)
    const { name } = only(`upstreams: [udp://${host}:65535]`)
    assert.equal(name, `${host}:65535`)
    assert.deepEqual(only(`upstreams: [{ name: ${name}, url: udp://192.0.2.1 }]`).name, name)
    assert.match(problems(`upstreams: [{ name: ${name}0, url: udp://192.0.2.1 }]`).join(), /expected a name of 1 to 259 letters/)
  })
})

describe('how upstreams are chosen and found', () => {
  test('every strategy has a word', () => {
    assert.deepEqual(STRATEGIES, ['ordered', 'round-robin', 'weighted', 'fastest', 'race', 'hash'])
    for (const strategy of STRATEGIES) assert.equal(load(`strategy: ${strategy}`).strategy, strategy)
  })

  test('bootstrap resolvers are addresses, with a port where it is not 53', () => {
    const { bootstrap } = load('bootstrap: [9.9.9.9, "1.1.1.1:5353", "2620:FE::fe", "[2620:fe::9]", "[::1]:5300", "2620:fe:0:0:0:0:0:10"]')
    assert.deepEqual(bootstrap, [
      { host: '9.9.9.9', port: 53 },
      { host: '1.1.1.1', port: 5353 },
      { host: '2620:fe::fe', port: 53 },
      { host: '2620:fe::9', port: 53 },
      { host: '::1', port: 5300 },
      { host: '2620:fe::10', port: 53 },
    ])
  })

  for (const [value, received] of [
    ['dns.example', '"dns.example"'],
    ['0.0.0.0', '"0.0.0.0"'],
    ['"::"', '"::"'],
    ['1.1.1.1:0', '"1.1.1.1:0"'],
    ['udp://1.1.1.1', '"udp://1.1.1.1"'],
    ['1.1.1.1/dns-query', '"1.1.1.1/dns-query"'],
    ['""', '""'],
    ['9', '9'],
  ] as const) {
    test(`a bootstrap resolver is refused: ${value}`, () => {
      assert.deepEqual(problems(`bootstrap: [${value}]`), [
        `1:13: bootstrap[0]: expected an IP address, or "ip:port": received ${received}`,
      ])
    })
  }

  test('bootstrap is a list with something in it', () => {
    assert.deepEqual(problems('bootstrap: 9.9.9.9'), ['1:12: bootstrap: expected a list of IP addresses: received "9.9.9.9"'])
    const empty = 'expected at least one address; leave "bootstrap" out to ask the resolvers of /etc/resolv.conf: received an empty list'
    assert.deepEqual(problems('bootstrap: []'), [`1:12: bootstrap: ${empty}`])
  })
})

describe('the form of upstreams', () => {
  const sources = [
    `upstreams: ["udp://[fe80::1%eth0]", udp://${LONG_HOST}, https://dns.example, { name: q, url: h3://192.0.2.1/x, serverName: a.b }]`,
    `strategy: hash\nbootstrap: [9.9.9.9, "[2620:fe::fe]:5353"]\n${entry(
      'url: [tls://192.0.2.1, https://dns.example/q]',
      'serverName: dns.example',
      'ca: ca.pem',
      `pins: [${PIN}]`,
      'clientCertificate: { cert: a.pem, key: b.pem }',
      'weight: 7',
      'connections: 3',
      'pipelining: 9',
      'maxAge: 90s',
      'idle: 1500ms',
      'source: "2001:db8::9"',
      'socks: "[2001:db8::8]:1080"',
    )}`,
    entry('url: udp://192.0.2.1', 'randomizeCase: true'),
  ]
  for (const source of sources) {
    test(`is read again as the same: ${source.slice(0, 60)}…`, () => {
      const before = load(source)
      const again = load(stringify(formOf(before)))
      const bare = ({ upstreams, strategy, bootstrap }: Config) => ({
        strategy,
        bootstrap,
        upstreams: upstreams?.map(({ ca, clientCertificate: own, ...rest }) => ({
          ...rest,
          ca: ca?.file,
          own: own && [own.cert, own.key],
          origin: null,
        })),
      })
      assert.deepEqual(bare(again), bare(before))
    })
  }

  test('has one URL as text and several as a list, as operators write them', () => {
    const form = formOf(load('upstreams: [https://dns.example, { name: two, url: [quic://dns.example, udp://192.0.2.1] }]'))
    const urls = (form.upstreams as readonly { readonly url: unknown }[]).map(({ url }) => url)
    assert.deepEqual(urls, ['https://dns.example:443/dns-query', ['quic://dns.example:853', 'udp://192.0.2.1:53']])
  })
})
