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
  test('is refused where the CA file cannot be used', () => {
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
      assert.throws(() => checkGateway(config), { code: 'ATLAS_CERTIFICATE', message })
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
