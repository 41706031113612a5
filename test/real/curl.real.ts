import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import test from 'node:test'
import { question } from '../harness/messages.ts'
import { type Finished, missing, run } from '../harness/real.ts'
import { ADDRESS, type Lab, NAMES, startLab, TTL } from './lab.ts'

const CURL = { skip: missing('curl') }
const VERSIONS = [
  { option: '--http1.1', status: 'HTTP/1.1 200' },
  { option: '--http2', status: 'HTTP/2 200' },
]
const QUERY = question({ name: NAMES.www, id: 0 })
const MESSAGE_TYPE = 'content-type: application/dns-message'

interface Response {
  readonly status: string
  readonly head: string
  readonly body: Buffer
}

/** `path` is a path of the gateway. */
async function curl({ gateway, holdings }: Lab, path: string, ...rest: readonly string[]): Promise<Response> {
  const [head, body] = [join(holdings.folder, 'head'), join(holdings.folder, 'body')]
  writeFileSync(body, '')
  const files = ['--dump-header', head, '--output', body]
  const result = await run('curl', ['-sS', '--cacert', gateway.ca, ...files, ...rest, `https://localhost:${gateway.doh}${path}`])
  assert.equal(result.code, 0, result.text)
  const text = readFileSync(head, 'latin1').toLowerCase()
  return { status: readFileSync(head, 'latin1').split('\r\n')[0]?.trim() ?? '', head: text, body: readFileSync(body) }
}

function postOf({ holdings }: Lab, message: Uint8Array): readonly string[] {
  const file = join(holdings.folder, 'query.bin')
  writeFileSync(file, message)
  return ['--data-binary', `@${file}`]
}

function assertMessage({ head, body }: Response): void {
  assert.match(head, /^content-type: application\/dns-message\r$/m)
  assert.match(head, new RegExp(`^content-length: ${body.length}\\r$`, 'm'))
  const age = /^cache-control: .*max-age=(\d+)/m.exec(head)?.[1]
  assert.ok(age !== undefined, head)
  // RFC 8484 §5.1: no longer than the smallest TTL
  assert.ok(Number(age) > 0 && Number(age) <= TTL, head)
  assert.equal(body.readUInt16BE(0), 0)
  assert.equal(body.readUInt16BE(2) & 0xf80f, 0x8000, 'a response, NOERROR')
  assert.equal(body.readUInt16BE(6), 1, 'one record')
  assert.ok(body.includes(Buffer.from(ADDRESS.split('.').map(Number))))
}

test(
  'curl asks by GET and POST over HTTP/1.1 and HTTP/2, hears what is wrong, and finds hosts that only the gateway knows',
  CURL,
  async (t) => {
    const lab = await startLab(t)
    await assertAnswers(lab)
    await assertRefusals(lab)
    await assertFinds(lab)
  },
)

async function assertAnswers(lab: Lab): Promise<void> {
  const post = postOf(lab, QUERY)
  for (const { option, status } of VERSIONS) {
    const byGet = await curl(lab, `/dns-query?dns=${QUERY.toString('base64url')}`, option, '-H', 'accept: application/dns-message')
    const byPost = await curl(lab, '/dns-query', option, '-H', MESSAGE_TYPE, ...post)
    for (const response of [byGet, byPost]) {
      assert.ok(response.status.startsWith(status), response.status)
      assertMessage(response)
      assert.match(response.head, new RegExp(`^alt-svc: h3=":${lab.gateway.doh}"; ma=86400\\r$`, 'm'))
    }
    const byName = await curl(lab, `/dns-query?name=${NAMES.www}&type=A`, option)
    assert.equal(JSON.parse(byName.body.toString()).Answer[0].data, ADDRESS)
    const page = await curl(lab, '/', option)
    assert.ok(page.body.includes(`https://localhost:${lab.gateway.doh}/dns-query`))
  }
}

/** HEAD, PUT, other types, paths and messages. */
async function assertRefusals(lab: Lab): Promise<void> {
  const post = postOf(lab, QUERY)
  const query = `dns=${QUERY.toString('base64url')}`
  for (const { option } of VERSIONS) {
    const status = async (path: string, ...rest: readonly string[]): Promise<number> =>
      Number((await curl(lab, path, option, ...rest)).status.split(' ')[1])
    const head = await curl(lab, `/dns-query?${query}`, option, '--head')
    assert.match(head.head, /^http\/\S+ 200/)
    assert.match(head.head, /^content-type: application\/dns-message\r$/m)
    const put = await curl(lab, '/dns-query', option, '-X', 'PUT', '-H', MESSAGE_TYPE, ...post)
    assert.match(put.head, /^http\/\S+ 405/)
    assert.match(put.head, /^allow: .*get.*\r$/m)
    assert.equal(await status('/dns-query', '-H', 'content-type: text/plain', ...post), 415)
    assert.equal(await status(`/elsewhere?${query}`), 404)
    assert.equal(await status('/dns-query'), 400)
    assert.equal(await status('/dns-query?dns=AAAA='), 400)
    assert.equal(await status('/dns-query', '-H', MESSAGE_TYPE, '--data-binary', 'short'), 400)
  }
}

/** By --doh-url. */
async function assertFinds({ gateway, holdings }: Lab): Promise<void> {
  const server = createServer((request, response) => response.end(`you asked for ${request.headers.host}`)).listen(0, '127.0.0.1')
  holdings.defer(() => server.close())
  await once(server, 'listening')
  const url = `http://${NAMES.page}:${(server.address() as AddressInfo).port}/`
  const doh = `https://localhost:${gateway.doh}/dns-query`

  const fetched = await run('curl', ['-sS', '--cacert', gateway.ca, '--doh-url', doh, url])
  assert.equal(fetched.text, `you asked for ${new URL(url).host}`)
  assert.equal(fetched.code, 0)

  const untrusted: Finished = await run('curl', ['-sS', '--doh-url', doh, url])
  assert.notEqual(untrusted.code, 0, 'a certificate of an unknown CA')
  const unknown: Finished = await run('curl', ['-sS', url])
  assert.equal(unknown.code, 6, 'nobody else knows the name')
}
