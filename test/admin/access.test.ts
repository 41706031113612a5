import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { FailureLimit } from '../../gateway/admin/failure-limit.ts'
import { ANY_PORT, ask, BEARER, openDoors, TOKEN } from './doors.ts'

const codeOf = (body: string) => (JSON.parse(body) as { error: { code: string } }).error.code

/** Ways to write a path, and what comes of them without a token: never more than the public paths. */
const TRICKS: readonly [target: string, status: number][] = [
  ['/metrics', 200],
  ['/healthz', 200],
  ['/readyz', 200],
  ['/metrics?x=1', 200],
  ['/%6detrics', 200],
  ['/v1/../metrics', 200],
  ['/metrics/', 401],
  ['/METRICS', 401],
  ['/', 401],
  ['/openapi.json', 401],
  ['/v1/status', 401],
  ['/v1/nothing', 401],
  ['/metrics/../v1/status', 401],
  ['/metrics/%2e%2e/v1/status', 401],
  ['/metrics/..%2fv1/status', 401],
  ['/metrics%2f..%2fv1%2fstatus', 401],
  ['/%76%31/status', 401],
  ['/%2576%2531/status', 401],
  ['/v1%2fstatus', 401],
  ['/v1/status/', 401],
  ['/v1/./status', 401],
  ['/metrics;x', 401],
  ['/metrics;/../v1/status', 401],
  ['/metrics%00', 401],
  ['/metrics%3f/../v1/status', 401],
  ['/metrics%23', 401],
  ['/metrics%5c..%5cv1/status', 401],
  ['/v1/status?/metrics', 401],
  ['/v1/status?path=/../../metrics', 401],
  ['/v1/status%', 401],
  ['/v1/%ff', 401],
  ['/v1/upstreams/a%2fb/enable', 401],
  ['//v1/status', 400],
  ['//metrics', 400],
  ['///metrics', 400],
  ['/metrics\\..\\v1\\status', 400],
  ['\\v1\\status', 400],
  ['/v1/status#/metrics', 400],
  ['/metrics\xe9', 400],
  ['/metrics\0', 400],
  ['*', 400],
  ['metrics', 400],
  ['http://127.0.0.1/metrics', 200],
  ['HTTP://127.0.0.1/metrics', 200],
  ['http://127.0.0.1/v1/status', 401],
  ['http://127.0.0.1//v1/status', 400],
  ['http://127.0.0.1', 401],
  ['http://evil.example/metrics', 421],
  ['http://127.0.0.1@evil.example/metrics', 421],
  ['http://evil.example\\@127.0.0.1/metrics', 400],
  ['http:///metrics', 421],
  ['ftp://127.0.0.1/metrics', 400],
  ['http:/v1/status', 400],
  [`/${'v'.repeat(3_000)}`, 401],
  [`/${'v'.repeat(5_000)}`, 400],
  [`/${'v'.repeat(20_000)}`, 431],
]

describe('without a token', () => {
  test('only the public paths are served, however a path is written', async (t) => {
    const { tcp, control } = await openDoors(t)
    for (const [target, status] of TRICKS) {
      const reply = await tcp(ask(`GET ${target}`))
      assert.equal(reply.status, status, JSON.stringify(target.slice(0, 80)))
      assert.doesNotMatch(reply.text, /stateDirectory|<\w/)
      assert.ok(reply.text.length < 2_000, 'what a client sent is not sent back at length')
    }
    assert.deepEqual(control.calls, [])
  })

  test('no other method is, and nothing is done', async (t) => {
    const { tcp, control } = await openDoors(t)
    for (const method of ['POST', 'DELETE', 'PUT', 'PATCH', 'OPTIONS']) {
      for (const path of ['/metrics', '/v1/reload', '/v1/drain', '/v1/cache/entries?all=true', '/v1/upstreams/quad9/disable']) {
        assert.equal((await tcp(ask(`${method} ${path}`))).status, 401, `${method} ${path}`)
      }
    }
    for (const method of ['TRACE', 'PROPFIND']) assert.equal((await tcp(ask(`${method} /metrics`))).status, 501)
    assert.notEqual((await tcp(ask('CONNECT 127.0.0.1:80'))).status, 200)
    assert.equal((await tcp(ask('HEAD /metrics'))).status, 200)
    assert.equal((await tcp(ask('HEAD /v1/status'))).status, 401)
    assert.deepEqual(control.calls, [])
  })

  test('and with none configured, the answer says where to go', async (t) => {
    const { doors, tcp } = await openDoors(t)
    await doors.reconfigure({ endpoint: ANY_PORT, token: null, hosts: [] })
    for (const fields of ['', BEARER]) {
      const reply = await tcp(ask('GET /v1/status', fields))
      assert.equal(reply.status, 403)
      assert.match(reply.body, /state\/admin\.sock.*listen\.admin\.tokenFile/)
    }
    assert.equal((await tcp(ask('GET /metrics'))).status, 200)
  })
})

describe('the token', () => {
  test('opens everything', async (t) => {
    const { tcp, control } = await openDoors(t)
    assert.equal((await tcp(ask('GET /v1/status', BEARER))).status, 200)
    assert.equal((await tcp(ask('GET /openapi.json', `authorization: bEARER   ${TOKEN} \r\n`))).status, 200)
    assert.equal((await tcp(ask('POST /v1/reload?dryRun=true', BEARER))).status, 200)
    assert.deepEqual(control.calls, ['reload true'])
  })

  for (const value of [
    `Bearer ${TOKEN}x`,
    `Bearer ${TOKEN.slice(0, -1)}`,
    'Bearer',
    'Bearer ',
    TOKEN,
    `Basic ${TOKEN}`,
    `Bearer ${TOKEN} x`,
    'Bearer \xe9',
  ]) {
    test(`is not ${JSON.stringify(value)}`, async (t) => {
      const { tcp } = await openDoors(t)
      const reply = await tcp(ask('GET /v1/status', `Authorization: ${value}\r\n`))
      assert.equal(reply.status, 401)
      assert.equal(reply.headers['www-authenticate'], 'Bearer')
      assert.equal(codeOf(reply.body), 'unauthorized')
    })
  }

  test('is asked for again after five wrong ones only when the minute is over, and the log has those five', async (t) => {
    const { tcp, time, log } = await openDoors(t)
    for (let i = 0; i < 5; i++) assert.equal((await tcp(ask('GET /v1/status', 'Authorization: Bearer guess\r\n'))).status, 401)
    time.now += 20_500
    const limited = await tcp(ask('GET /v1/status', BEARER))
    assert.deepEqual([limited.status, limited.headers['retry-after'], codeOf(limited.body)], [429, '40', 'too_many_requests'])
    assert.equal((await tcp(ask('GET /metrics'))).status, 200)
    assert.equal(log().match(/wrong token/g)?.length, 5)
    assert.match(log(), /"level":40,.*"address":"127\.0\.0\.1"/)
    time.now += 39_500
    assert.equal((await tcp(ask('GET /v1/status', BEARER))).status, 200)
  })

  test('that is absent counts as no failure', async (t) => {
    const { tcp, log } = await openDoors(t)
    for (let i = 0; i < 7; i++) assert.equal((await tcp(ask('GET /v1/status'))).status, 401)
    assert.equal((await tcp(ask('GET /v1/status', BEARER))).status, 200)
    assert.equal(log(), '')
  })

  test('is in no answer and no line of the log', async (t) => {
    const { tcp, socket, log } = await openDoors(t)
    const wrong = `${TOKEN.slice(0, -1)}!`
    let seen = ''
    for (const fields of [BEARER, `Authorization: Bearer ${wrong}\r\n`]) {
      for (const line of [
        'GET /v1/config',
        'GET /v1/status',
        'GET /openapi.json',
        'GET /v1/nothing',
        'POST /v1/reload',
        'PUT /metrics',
        'GET /metrics',
      ]) {
        seen += (await tcp(ask(line, fields))).text + (await socket(ask(line, fields))).text
      }
    }
    assert.ok(seen.length > 10_000 && log() !== '')
    for (const secret of [TOKEN, wrong]) assert.ok(!(seen + log()).includes(secret.slice(0, -1)))
  })
})

describe('failures are counted', () => {
  const failing = (limit: FailureLimit, address: string) => {
    for (let i = 0; i < 5; i++) limit.count(address)
  }

  test('for each IPv4 address, also in its mapped form, and for each IPv6 network', () => {
    const limit = new FailureLimit(() => 0)
    failing(limit, '::ffff:192.0.2.1')
    failing(limit, '2001:db8:1:2::1')
    const waits = ['192.0.2.1', '192.0.2.2', '2001:db8:1:2:ffff::9', '2001:db8:1:3::1'].map((address) => limit.waitSeconds(address))
    assert.deepEqual(waits, [60, 0, 60, 0])
  })

  test('for a minute, and then anew', () => {
    let now = 0
    const limit = new FailureLimit(() => now)
    failing(limit, '192.0.2.1')
    now = 59_999
    assert.equal(limit.waitSeconds('192.0.2.1'), 1)
    now = 60_000
    assert.equal(limit.waitSeconds('192.0.2.1'), 0)
    failing(limit, '192.0.2.1')
    assert.equal(limit.waitSeconds('192.0.2.1'), 60)
  })

  test('for 1,024 addresses, then the oldest is forgotten', () => {
    const limit = new FailureLimit(() => 0)
    failing(limit, '192.0.2.1')
    for (let i = 1; i < 1_024; i++) limit.count(`198.51.${i >> 8}.${i & 255}`)
    assert.equal(limit.waitSeconds('192.0.2.1'), 60)
    limit.count('203.0.113.1')
    assert.equal(limit.waitSeconds('192.0.2.1'), 0)
  })
})

describe('Host', () => {
  const request = (host: string) => `GET /healthz HTTP/1.1\r\nConnection: close\r\nHost: ${host}\r\n\r\n`

  test('is an IP address, localhost or a configured name', async (t) => {
    const { tcp } = await openDoors(t, { hosts: ['DNS.example.net.', 'gw'] })
    const own = [
      '127.0.0.1',
      '127.0.0.1:9353',
      '192.0.2.7',
      '[::1]',
      '[::1]:9353',
      'localhost',
      'LOCALHOST.:80',
      'dns.Example.net',
      'dns.example.net.:1',
      'gw',
    ]
    for (const host of own) assert.equal((await tcp(request(host))).status, 200, host)
    const others = [
      'evil.example',
      'dns.example.net.evil.example',
      'x.localhost',
      'localhost..',
      '::1',
      '[127.0.0.1]',
      '[::1',
      '[fe80::1%25lo]',
      '127.1',
      '0x7f.0.0.1',
    ]
    for (const host of [
      ...others,
      '127.0.0.1.',
      '',
      'a@127.0.0.1',
      'localhost:80:80',
      'localhost:x',
      'localhost/',
      'localhost localhost',
    ]) {
      const reply = await tcp(request(host))
      assert.equal(reply.status, 421, host)
      assert.match(reply.body, /listen\.admin\.hosts/)
    }
  })

  test('may be missing in HTTP/1.0 only, and is there once', async (t) => {
    const { tcp } = await openDoors(t)
    assert.equal((await tcp('GET /readyz HTTP/1.0\r\n\r\n')).status, 200)
    assert.equal((await tcp('GET /v1/status HTTP/1.0\r\n\r\n')).status, 401)
    assert.equal((await tcp('GET /readyz HTTP/1.0\r\nHost: evil.example\r\n\r\n')).status, 421)
    assert.equal((await tcp('GET /readyz HTTP/1.1\r\nConnection: close\r\n\r\n')).status, 400)
    assert.equal((await tcp(ask('GET /readyz', 'Host: localhost\r\n'))).status, 400)
  })

  test('is not looked at on the socket', async (t) => {
    const { socket } = await openDoors(t)
    assert.equal((await socket(request('evil.example'))).status, 200)
    assert.equal((await socket(request('a b[%'))).status, 200)
  })
})
