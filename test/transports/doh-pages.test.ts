import assert from 'node:assert/strict'
import { createHash, X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, before, describe } from 'node:test'
import { resolveJson } from '../../dns/resolve-json.ts'
import { issue } from '../certs/issue.ts'
import { DOH_CLIENTS, type DohRequest } from '../harness/clients.ts'
import { runGateway, type TestGateway } from '../harness/gateway.ts'
import { aRecord, question, response } from '../harness/messages.ts'
import { dnsServer } from '../harness/servers.ts'

const QUESTION = question({ name: 'www.example.com' })

let gateway: TestGateway
let plain: TestGateway
let certified: TestGateway
const directory = mkdtempSync(join(tmpdir(), 'atlas-test-'))
let upstream: Awaited<ReturnType<typeof dnsServer>>
/** The last question that the upstream was asked. */
let asked: Buffer

before(async () => {
  upstream = await dnsServer((query, reply) => {
    asked = Buffer.from(query)
    reply(
      query.includes('servfail') ? response(query, { flags: 0x8182 }) : response(query, { answers: [aRecord('192.0.2.1', { ttl: 30 })] }),
    )
  })
  // without cookies the OPT record of a question is empty
  gateway = await runGateway([upstream.endpoint], { edns: { padding: true, cookies: false, clientSubnet: 'off' } })
  plain = await runGateway([upstream.endpoint], {
    doh: { paths: ['/dns-query'], http3: true, json: false, landing: false, proxy: null, trustedProxies: [] },
  })
  const files = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem'), origin: 'test' }
  const { certPem, keyPem } = await issue({ names: ['localhost'], addresses: ['127.0.0.1'] })
  writeFileSync(files.cert, certPem)
  writeFileSync(files.key, keyPem)
  const tls = { certificates: [files], minVersion: 'TLSv1.3' as const, acme: [], ticketKeyFile: null }
  certified = { ...(await runGateway([upstream.endpoint], { tls })), ca: certPem }
})
after(async () => {
  await certified[Symbol.asyncDispose]()
  rmSync(directory, { recursive: true })
  await gateway[Symbol.asyncDispose]()
  await plain[Symbol.asyncDispose]()
  await upstream[Symbol.asyncDispose]()
})

for (const [name, client] of DOH_CLIENTS) {
  describe(`over ${name}`, () => {
    const ask = (request: DohRequest) => client(gateway, request)
    const json = async (query: string) => JSON.parse((await ask({ path: `/dns-query?${query}` })).body.toString())

    test('a name is answered in JSON, as long as it may be stored', async () => {
      const { status, headers, body } = await ask({ path: '/dns-query?name=www.example.com' })
      assert.equal(status, 200)
      assert.equal(headers['content-type'], 'application/json')
      assert.equal(headers['content-length'], String(body.length))
      assert.equal(headers['cache-control'], 'max-age=30')
      assert.equal(headers.age, undefined)
      assert.deepEqual(JSON.parse(body.toString()), {
        ...resolveJson(response(QUESTION, { flags: 0x8180, answers: [aRecord('192.0.2.1', { ttl: 30 })] })),
      })
    })

    test('HEAD says the same without the content', async () => {
      const { status, headers, body } = await ask({ method: 'HEAD', path: '/dns-query?name=www.example.com' })
      assert.deepEqual([status, headers['content-type'], body.length], [200, 'application/json', 0])
      assert.ok(Number(headers['content-length']) > 0)
    })

    test('type, do and cd are asked as they are said', async () => {
      const { Question, CD } = await json(`name=x${name.at(-1)}.example&type=aaaa&do=1&cd=true&ct=x`)
      assert.deepEqual([Question, CD], [[{ name: `x${name.at(-1)}.example.`, type: 28 }], true])
      // RD and CD; DO in the OPT record
      assert.equal(asked.readUInt16BE(2), 0x0110)
      assert.equal(asked.readUInt16BE(asked.length - 4) & 0x8000, 0x8000)
      assert.equal((await json('name=y.example&type=65&do=false')).Question[0].type, 65)
    })

    test('names may be escaped, percent-encoded and international', async () => {
      assert.equal((await json('name=a%2eexample')).Question[0].name, 'a.example.')
      assert.equal((await json('name=a%5C.b.example.')).Question[0].name, 'a\\.b.example.')
      assert.equal((await json('name=b%C3%BCcher.example')).Question[0].name, 'xn--bcher-kva.example.')
      assert.equal((await json('name=.&type=NS')).Question[0].name, '.')
    })

    test('a failure is 200 with its status, and not stored', async () => {
      const { status, headers, body } = await ask({ path: '/dns-query?name=servfail.example' })
      assert.deepEqual([status, headers['cache-control'], JSON.parse(body.toString()).Status], [200, 'no-store', 2])
    })

    test('what cannot be asked is 400, in words', async () => {
      const long = `${'a'.repeat(64)}.example`
      for (const query of [
        'name=',
        'name=a&name=b',
        `name=${long}`,
        'name=a..b',
        'name=a&type=x',
        'name=a&type=65536',
        'name=a&do=2',
        'name=a&cd=x',
      ]) {
        const { status, headers, body } = await ask({ path: `/dns-query?${query}` })
        assert.deepEqual([status, headers['content-type']], [400, 'text/plain; charset=utf-8'], query)
        assert.match(body.toString(), /expected name=/, query)
      }
    })

    test('a message counts more than a name', async () => {
      const { headers } = await ask({ path: `/dns-query?name=x&dns=${QUESTION.toString('base64url')}` })
      assert.equal(headers['content-type'], 'application/dns-message')
    })

    test('a browser is shown a page with the address, and nothing that could be loaded or run', async () => {
      const { status, headers, body } = await ask({ path: '/' })
      const page = body.toString()
      assert.equal(status, 200)
      assert.equal(headers['content-type'], 'text/html; charset=utf-8')
      assert.equal(headers['content-length'], String(body.length))
      assert.equal(headers['x-content-type-options'], 'nosniff')
      assert.match(page, new RegExp(`https://localhost(?::${gateway.doh.port})?/dns-query`))
      assert.doesNotMatch(page, /<script|src=|href="(?!\/ca\.pem")|@import|url\(/)
      const style = /<style>(.*)<\/style>/s.exec(page)?.[1] ?? ''
      const hash = createHash('sha256').update(style).digest('base64')
      assert.ok(headers['content-security-policy']?.includes(`default-src 'none'; style-src 'sha256-${hash}'`))
      const head = await ask({ method: 'HEAD', path: '/?x' })
      assert.deepEqual([head.status, head.body.length, head.headers['content-length']], [200, 0, String(body.length)])
    })

    test('the local CA can be fetched, and compared with what the page says of it', async () => {
      const { status, headers, body } = await ask({ path: '/ca.pem' })
      assert.equal(status, 200)
      assert.equal(headers['content-type'], 'application/x-x509-ca-cert')
      assert.equal(headers['content-length'], String(body.length))
      assert.equal(headers['cache-control'], 'no-cache')
      assert.equal(body.toString(), gateway.ca)
      const page = await ask({ path: '/' })
      const text = page.body.toString().replaceAll('<wbr>', '')
      assert.ok(text.includes(new X509Certificate(body).fingerprint256))
      assert.ok(text.includes('>localhost, 127.0.0.1, ::1<'))
      assert.equal(page.headers['cache-control'], 'no-cache')
      const head = await ask({ method: 'HEAD', path: '/ca.pem' })
      assert.deepEqual([head.status, head.body.length, head.headers['content-length']], [200, 0, String(body.length)])
      assert.equal((await ask({ method: 'POST', path: '/ca.pem' })).status, 405)
    })

    test('nothing is offered where the local CA is not in use, or without a page', async () => {
      const page = await client(certified, { path: '/' })
      assert.equal(page.status, 200)
      assert.equal(page.headers['cache-control'], 'max-age=3600')
      assert.doesNotMatch(page.body.toString(), /ca\.pem|fingerprint/)
      assert.equal((await client(certified, { path: '/ca.pem' })).status, 404)
      assert.equal((await client(plain, { path: '/ca.pem' })).status, 404)
    })

    test('other methods are not for the page', async () => {
      const answers = await Promise.all(['POST', 'DELETE', 'OPTIONS'].map((method) => ask({ method, path: '/' })))
      assert.deepEqual(
        answers.map(({ status, headers }) => [status, headers.allow]),
        [
          [405, 'GET, HEAD, OPTIONS'],
          [405, 'GET, HEAD, OPTIONS'],
          [204, 'GET, HEAD, OPTIONS'],
        ],
      )
    })

    test('both can be switched off', async () => {
      assert.equal((await client(plain, { path: '/' })).status, 404)
      assert.equal((await client(plain, { path: '/dns-query?name=www.example.com' })).status, 400)
    })
  })
}
