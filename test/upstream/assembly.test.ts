import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe } from 'node:test'
import { checkGateway } from '../../gateway/assembly/check.ts'
import { chooseUpstreams } from '../../gateway/assembly/upstream-choice.ts'
import type { Config } from '../../gateway/config/config.ts'
import { loadConfig } from '../../gateway/config/load.ts'
import { CLIENTS } from '../harness/clients.ts'
import { runGateway } from '../harness/gateway.ts'
import { aRecord, hex, question, response } from '../harness/messages.ts'
import { edeOf, rcode } from '../harness/pipeline.ts'
import { type Handler, tlsServer } from '../harness/servers.ts'
import { leaf, root } from './servers.ts'

const cwd = mkdtempSync(join(tmpdir(), 'atlas-upstream-'))
after(() => rmSync(cwd, { recursive: true }))
const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))
const EXAMPLE = question({ name: 'www.example.com', opt: '' })

function load(text: string): Config {
  writeFileSync(join(cwd, 'atlas.yaml'), text)
  return loadConfig({ file: 'atlas.yaml', env: {}, cwd }).config
}

describe('a gateway with a tls upstream', () => {
  const configOf = (port: number, rest: string) => load(`upstreams:\n  - { name: corp, url: "tls://127.0.0.1:${port}", ${rest} }\n`)

  test('asks it, with the roots of a file', async () => {
    writeFileSync(join(cwd, 'ca.pem'), `a comment\n${root.certPem}`)
    await using server = await tlsServer(answering, { cert: leaf.certPem, key: leaf.keyPem })
    const { upstreams } = configOf(server.endpoint.port, 'ca: ca.pem, serverName: dns.example')
    await using gateway = await runGateway([], { upstreams })
    for (const client of CLIENTS) {
      const reaction = await client.send(gateway, EXAMPLE)
      assert.ok(reaction.kind === 'answer' && reaction.message.includes(hex('c0000201')), client.name)
    }
    assert.equal(server.sockets.length, 1)
  })

  test('says what is wrong with its certificate: the client in general, the log once and in detail', async () => {
    await using server = await tlsServer(answering, { cert: leaf.certPem, key: leaf.keyPem })
    const { upstreams } = configOf(server.endpoint.port, 'serverName: dns.example')
    await using gateway = await runGateway([], { upstreams })
    for (const [i, client] of [...CLIENTS, ...CLIENTS].entries()) {
      // a question each: a failure is remembered for a moment
      const reaction = await client.send(gateway, question({ name: `${i}.example.com`, opt: '' }))
      assert.ok(reaction.kind === 'answer', client.name)
      assert.deepEqual([rcode(reaction.message), edeOf(reaction.message)], [2, 23])
      assert.ok(reaction.message.includes('the certificate of the upstream server is not accepted'))
    }
    const lines = gateway.log.map((line) => JSON.parse(line) as Record<string, unknown>).filter(({ upstream }) => upstream === 'corp')
    assert.deepEqual(
      lines.map(({ level, address, reason }) => ({ level, address, reason })),
      [{ level: 40, address: `127.0.0.1:${server.endpoint.port}`, reason: 'unable to verify the first certificate' }],
    )
    assert.equal(server.queries.length, 0)
  })
})

describe('a configuration with a tls upstream', () => {
  test('is refused where the CA file cannot be used', async () => {
    writeFileSync(join(cwd, 'text.pem'), 'hello')
    writeFileSync(join(cwd, 'key.pem'), leaf.keyPem)
    writeFileSync(join(cwd, 'damaged.pem'), root.certPem + root.certPem.replace(/\n.{8}/, '\nAAAAAAAA'))
    for (const [file, reason] of [
      ['missing.pem', 'there is no such file'],
      ['text.pem', 'it is not PEM'],
      ['key.pem', 'there is no certificate in it'],
      ['damaged.pem', 'certificate 2 in it is damaged'],
      ['.', 'it is a directory'],
    ]) {
      const config = load(`upstreams:\n  - { url: "tls://192.0.2.1", ca: ${file} }\n`)
      const message = `Cannot use CA file: ${reason}: ${join(cwd, file ?? '')} (atlas.yaml:2:35)`
      await assert.rejects(checkGateway(config), { code: 'ATLAS_CERTIFICATE', message })
    }
  })

  test('is refused where it is one of our own listeners', () => {
    const listen = 'listen: { dot: ["127.0.0.1:8853"], dns: ["127.0.0.1:8053"] }\n'
    const message = 'Cannot use the upstream tls://127.0.0.1:8853: it is one of our own listeners: atlas.yaml:2:13'
    const config = load(`${listen}upstreams: [tls://127.0.0.1:8853]\n`)
    assert.throws(() => chooseUpstreams(config, []), { code: 'ATLAS_UPSTREAM', message })
    // nobody speaks TLS there
    assert.equal(chooseUpstreams(load(`${listen}upstreams: [tls://127.0.0.1:8053]\n`), []).servers.length, 1)
  })
})

describe('an upstream that is one of our own listeners', () => {
  const LISTEN = {
    dns: '127.0.0.1:1053',
    dot: '127.0.0.1:1853',
    doh: '127.0.0.1:1443',
    doq: '127.0.0.1:2853',
  }
  const kinds: readonly (readonly [protocol: string, listener: keyof typeof LISTEN])[] = [
    ['udp', 'dns'],
    ['tcp', 'dns'],
    ['tls', 'dot'],
    ['https', 'doh'],
    ['h3', 'doh'],
    ['quic', 'doq'],
  ]
  const listening = (changes: Partial<typeof LISTEN> = {}) =>
    `listen: { ${Object.entries({ ...LISTEN, ...changes })
      .map(([kind, address]) => `${kind}: [${JSON.stringify(address)}]`)
      .join(', ')} }\n`
  /** The servers asked with an upstream of these URLs; throws where one of them is refused. */
  const choose = (urls: readonly string[], { listen = listening(), rest = '' } = {}) =>
    chooseUpstreams(load(`${listen}${rest}upstreams: [{ name: one, url: ${JSON.stringify(urls)}, serverName: a.example }]\n`), [])
  const refusal = (url: string) => ({
    code: 'ATLAS_UPSTREAM',
    message: `Cannot use the upstream ${url}: it is one of our own listeners: atlas.yaml:2:13`,
  })
  const path = (protocol: string): string => (protocol === 'https' || protocol === 'h3' ? '/dns-query' : '')

  for (const [protocol, listener] of kinds) {
    const own = `${protocol}://${LISTEN[listener]}${path(protocol)}`
    // one of its own beside it, so that serverName has a use
    const other = 'tls://192.0.2.1:853'

    test(`${protocol}: is refused, also as the second of several ways`, () => {
      assert.throws(() => choose([own, other]), refusal(own))
      assert.throws(() => choose([other, own]), refusal(own))
      // the same address in another notation
      const mapped = own.replace('127.0.0.1', '[::ffff:127.0.0.1]')
      assert.throws(() => choose([other, mapped]), refusal(own))
    })

    test(`${protocol}: is refused where a listener has every address`, () => {
      const port = LISTEN[listener].split(':')[1]
      for (const wildcard of [`0.0.0.0:${port}`, `[::]:${port}`]) {
        assert.throws(() => choose([other, own], { listen: listening({ [listener]: wildcard }) }), refusal(own))
      }
    })

    test(`${protocol}: is none where only others listen`, () => {
      const elsewhere = own.replace('127.0.0.1', '127.0.0.2')
      assert.equal(choose([other, elsewhere]).servers.length, 1)
      for (const [kind, address] of Object.entries(LISTEN)) {
        if (kind !== listener) assert.equal(choose([other, `${protocol}://${address}`]).servers.length, 1, kind)
      }
      // a host name leads where its resolver says: what leads back to us is found out by asking it
      assert.equal(choose([other, own.replace('127.0.0.1', 'localhost')]).servers.length, 1)
    })
  }

  test('h3 is none of ours while HTTP/3 is off; https still is', () => {
    const [h3, https] = ['h3', 'https'].map((protocol) => `${protocol}://${LISTEN.doh}/dns-query`)
    const off = { rest: 'doh: { http3: false }\n' }
    assert.ok(h3 !== undefined && https !== undefined)
    assert.equal(choose([h3], off).servers.length, 1)
    assert.throws(() => choose([https], off), { code: 'ATLAS_UPSTREAM' })
  })

  test('is passed over among the resolvers of the machine', () => {
    const config = load(listening())
    const [ours, theirs] = [
      { host: '127.0.0.1', port: 1053 },
      { host: '192.0.2.1', port: 53 },
    ]
    const names = ({ servers }: ReturnType<typeof chooseUpstreams>) => servers.map(({ name, urls }) => [name, urls[0]?.host])
    assert.deepEqual(names(chooseUpstreams(config, [ours, theirs])), [['system1', '192.0.2.1']])
    const none = chooseUpstreams(config, [ours])
    assert.deepEqual(none.servers, [])
    assert.match(none.warnings.join(), /^no resolver in \/etc\/resolv\.conf other than ourselves/)
  })
})
