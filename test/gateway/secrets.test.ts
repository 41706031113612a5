import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import test from 'node:test'
import { issue } from '../certs/issue.ts'
import { CLIENTS } from '../harness/clients.ts'
import { runGateway, TLS, testConfig } from '../harness/gateway.ts'
import { aRecord, question, response } from '../harness/messages.ts'
import { dnsServer } from '../harness/servers.ts'
import { temporaryDirectory } from '../harness/temporary.ts'

const TOKEN = 'token-3f9a77c2e15b4d08'
const RESOURCES = ['status', 'config', 'listeners', 'upstreams', 'cache', 'cache/entries?name=www.example.com', 'certificates']

/** The lines of keys, as they would stand in a log. */
function keyLines(pem: string): readonly string[] {
  const key = /-----BEGIN [A-Z ]*PRIVATE KEY-----\n([\s\S]*?)-----END/.exec(pem)?.[1] ?? ''
  return key.split('\n').filter((line) => line.length > 20)
}

async function ask(socketPath: string, method: string, path: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const sent = request({ socketPath, method, path }, (answer) => {
    const chunks: Buffer[] = []
    answer.on('data', (chunk: Buffer) => chunks.push(chunk))
    answer.on('end', () => resolve(Buffer.concat(chunks).toString()))
  })
  sent.on('error', reject)
  sent.end()
  return promise
}

test('no secret is in a log line, a resource, a metric or an error', async (t) => {
  const directory = temporaryDirectory(t)
  const [tokenFile, cert, key] = ['token', 'cert.pem', 'key.pem'].map((name) => join(directory, name)) as [string, string, string]
  const { certPem, keyPem } = await issue({ names: ['localhost'] })
  writeFileSync(tokenFile, `${TOKEN}\n`, { mode: 0o644 })
  writeFileSync(cert, certPem)
  writeFileSync(key, keyPem)
  await using upstream = await dnsServer((query, reply) => reply(response(query, { answers: [aRecord()] })))
  const { listen } = testConfig([])
  const admin = { endpoint: { host: '127.0.0.1', port: 0 }, tokenFile, hosts: [] }
  const log = { level: 'trace', queries: { kind: 'share', share: 1 } } as const
  await using gateway = await runGateway([upstream.endpoint], { listen: { ...listen, admin }, log })
  const socket = join(gateway.state, 'admin.sock')
  const seen: string[] = []
  const local = keyLines(readFileSync(join(gateway.state, 'ca.key'), 'utf8'))

  for (const client of CLIENTS) await client.send(gateway, question({ name: 'www.example.com', opt: '' }))
  for (const resource of RESOURCES) seen.push(await ask(socket, 'GET', `/v1/${resource}`))
  seen.push(await ask(socket, 'GET', '/metrics'), await ask(socket, 'GET', '/openapi.json'))
  seen.push(
    await (await fetch(`http://127.0.0.1:${gateway.admin.port}/v1/status`, { headers: { authorization: `Bearer ${TOKEN}x` } })).text(),
  )
  const tls = { ...TLS, certificates: [{ cert, key, origin: 'test' }] }
  seen.push(JSON.stringify(await gateway.reload({ tls })))
  // the key where the certificate should be, and the other way round
  for (const [first, second] of [
    [key, cert],
    [key, key],
    [tokenFile, key],
  ] as const) {
    const outcome = await gateway.reload({ tls: { ...tls, certificates: [{ cert: first, key: second, origin: 'test' }] } })
    assert.equal(outcome.outcome, 'refused')
    seen.push(JSON.stringify(outcome))
  }
  writeFileSync(tokenFile, TOKEN.slice(0, 12))
  seen.push(JSON.stringify(await gateway.reload({ tls })))
  seen.push(...gateway.log)

  const secrets = [TOKEN, TOKEN.slice(0, 12), ...local, ...keyLines(keyPem)]
  assert.ok(secrets.length > 5)
  const text = seen.join('\n')
  assert.ok(text.includes('the configuration was not changed'))
  for (const secret of secrets) assert.ok(!text.includes(secret), `found ${secret}`)
  // nor in the state directory, but for the files that are there for it
  const files = readdirSync(gateway.state, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  for (const { name, parentPath } of files) {
    if (name.endsWith('key') || name === 'key.pem') continue
    const content = readFileSync(join(parentPath, name), 'latin1')
    for (const secret of secrets) assert.ok(!content.includes(secret), `found ${secret} in ${name}`)
  }
})
