import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test, { describe } from 'node:test'
import { z } from 'zod'
import type { ReloadOutcome, RenewalOutcome } from '../../gateway/admin/control.ts'
import { REFUSALS } from '../../gateway/admin/refusal.ts'
import { ask, BEARER, type OpenDoors, openDoors, type Reply } from './doors.ts'

const OUTCOMES: Readonly<Record<ReloadOutcome['outcome'], ReloadOutcome>> = {
  applied: { outcome: 'applied', changes: [], restartOnly: [{ path: 'state', from: 'a', to: null }], warnings: [] },
  unchanged: { outcome: 'unchanged', changes: [], restartOnly: [], warnings: [] },
  planned: { outcome: 'planned', changes: [{ path: 'a.b', from: null, to: { c: 1 } }], restartOnly: [], warnings: ['careful'] },
  refused: {
    outcome: 'refused',
    code: 'ATLAS_CONFIG',
    message: 'it is wrong',
    problems: [{ where: 'a.yaml:1:2', path: 'listen', message: 'expected a map: received 7' }],
  },
  'rolled-back': { outcome: 'rolled-back', code: 'ATLAS_LISTEN', message: 'it is in use', problems: [] },
  busy: { outcome: 'busy', message: 'another reload is under way' },
}

interface Operation {
  readonly summary?: string
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, { readonly schema: object }>> }>>
  readonly security?: readonly object[]
}

interface OpenApi {
  readonly openapi: string
  readonly info: { readonly version: string }
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, object>> }
}

const jsonOf = (reply: Reply) => JSON.parse(reply.body) as unknown
const errorOf = (reply: Reply) => (jsonOf(reply) as { readonly error: { readonly code: string; readonly message: string } }).error

/** Every request of this file that is answered with JSON, and the path as the document has it. */
const REQUESTS: readonly [line: string, path: string, status: number][] = [
  ['GET /v1/status', '/v1/status', 200],
  ['GET /v1/config', '/v1/config', 200],
  ['GET /v1/listeners', '/v1/listeners', 200],
  ['GET /v1/upstreams', '/v1/upstreams', 200],
  ['GET /v1/cache', '/v1/cache', 200],
  ['GET /v1/cache/entries?name=example.com', '/v1/cache/entries', 200],
  ['GET /v1/cache/entries?name=a..b', '/v1/cache/entries', 400],
  ['GET /v1/cache/entries', '/v1/cache/entries', 400],
  ['GET /v1/certificates', '/v1/certificates', 200],
  ['GET /openapi.json', '/openapi.json', 200],
  ['POST /v1/upstreams/quad9/enable', '/v1/upstreams/{name}/enable', 200],
  ['POST /v1/upstreams/%5B2620:fe::fe%5D:853/disable', '/v1/upstreams/{name}/disable', 200],
  ['POST /v1/upstreams/a%2fb/disable', '/v1/upstreams/{name}/disable', 404],
  [`POST /v1/upstreams/${'x'.repeat(300)}/disable`, '/v1/upstreams/{name}/disable', 400],
  ['DELETE /v1/cache/entries?all=true', '/v1/cache/entries', 200],
  ['DELETE /v1/cache/entries?name=www.example.com', '/v1/cache/entries', 200],
  ['DELETE /v1/cache/entries?suffix=example.com', '/v1/cache/entries', 200],
  ['DELETE /v1/cache/entries?suffix=a..b', '/v1/cache/entries', 400],
  ['DELETE /v1/cache/entries', '/v1/cache/entries', 400],
  ['DELETE /v1/cache/entries?all=true&name=a', '/v1/cache/entries', 400],
  ['DELETE /v1/cache/entries?all=false', '/v1/cache/entries', 400],
  ['DELETE /v1/cache/entries?name=a&name=b', '/v1/cache/entries', 400],
  ['POST /v1/reload?dryrun=true', '/v1/reload', 400],
  ['POST /v1/reload?dryRun=1', '/v1/reload', 400],
  ['POST /v1/certificates/renew?name=dns.example.net', '/v1/certificates/renew', 200],
  ['POST /v1/certificates/renew', '/v1/certificates/renew', 400],
  ['POST /v1/certificates/renew?name=', '/v1/certificates/renew', 400],
  ['POST /v1/certificates/roll-over?name=dns.example.net', '/v1/certificates/roll-over', 200],
  ['POST /v1/certificates/roll-over?name=other.example', '/v1/certificates/roll-over', 404],
  ['POST /v1/certificates/roll-over?name=localhost', '/v1/certificates/roll-over', 422],
  ['POST /v1/certificates/roll-over', '/v1/certificates/roll-over', 400],
  ['POST /v1/drain?soon', '/v1/drain', 400],
  ['POST /v1/drain', '/v1/drain', 202],
]

async function documentOf({ socket }: OpenDoors): Promise<OpenApi> {
  return jsonOf(await socket(ask('GET /openapi.json'))) as OpenApi
}

/** Fails unless the document says exactly this of the answer, no field more or less. */
function assertDocumented(document: OpenApi, reply: Reply, [line, path]: readonly [string, string]): void {
  const method = line.split(' ')[0]?.toLowerCase() ?? ''
  const schema = document.paths[path]?.[method]?.responses[reply.status]?.content?.['application/json']?.schema
  assert.ok(schema, `${line}: ${reply.status} is documented`)
  const text = JSON.stringify({ ...schema, $defs: document.components.schemas }, (_, value: unknown) => closed(value))
  z.fromJSONSchema(JSON.parse(text.replaceAll('#/components/schemas/', '#/$defs/')) as never).parse(jsonOf(reply))
}

describe('the resources', () => {
  test('answer as the document says, through both doors alike', async (t) => {
    const open = await openDoors(t)
    const { socket, tcp } = open
    const document = await documentOf(open)
    for (const [line, path, status] of REQUESTS) {
      const reply = await socket(ask(line))
      assert.equal(reply.status, status, line)
      assertDocumented(document, reply, [line, path])
      const { date: _, ...headers } = reply.headers
      const { date: __, ...others } = (await tcp(ask(line, BEARER))).headers
      assert.deepEqual(headers, others)
    }
  })

  for (const [name, outcome] of Object.entries(OUTCOMES)) {
    test(`tell a reload that is ${name} by the status too`, async (t) => {
      const open = await openDoors(t)
      const { control } = open
      control.outcome = outcome
      const reply = await open.socket(ask('POST /v1/reload'))
      assert.equal(reply.status, { busy: 409, refused: 422, 'rolled-back': 422 }[name] ?? 200)
      assert.deepEqual(jsonOf(reply), outcome)
      assertDocumented(await documentOf(open), reply, ['POST /v1/reload', '/v1/reload'])
      assert.deepEqual(control.calls, ['reload false'])
    })
  }

  test('tell by the status what becomes of a renewal', async (t) => {
    const open = await openDoors(t)
    const [certificate = assert.fail()] = open.control.certificates()
    const path = '/v1/certificates/renew'
    const names = 'dns.example.net, *.example.org'
    const expected: readonly [outcome: RenewalOutcome, status: number, message: string | null][] = [
      [{ outcome: 'renewed', certificate }, 200, null],
      [{ outcome: 'running', certificate }, 202, null],
      [{ outcome: 'unknown' }, 404, `expected one of ${names}: received "*.example.org"`],
      [{ outcome: 'busy', message: 'the gateway is ending' }, 409, 'the gateway is ending'],
      [{ outcome: 'failed', message: 'Cannot write: no' }, 422, 'Cannot write: no'],
    ]
    const document = await documentOf(open)
    for (const [outcome, status, message] of expected) {
      open.control.renewal = outcome
      const reply = await open.socket(ask(`POST ${path}?name=*.example.org`))
      assert.equal(reply.status, status)
      assertDocumented(document, reply, [`POST ${path}`, path])
      if (message === null) assert.deepEqual(jsonOf(reply), certificate)
      else assert.equal(errorOf(reply).message, message)
    }
    assert.deepEqual(new Set(open.control.calls), new Set(['renew *.example.org']))
  })

  test('pass on what was asked for', async (t) => {
    const { socket, control } = await openDoors(t)
    for (const [line] of REQUESTS) await socket(ask(line))
    await socket(ask('POST /v1/reload?dryRun=true'))
    await socket(ask('DELETE /v1/cache/entries?name=a%2Eb%5C%2E%2Bc'))
    assert.deepEqual(control.calls, [
      'enable quad9',
      'disable [2620:fe::fe]:853',
      'disable a/b',
      'purge all',
      'purge name www.example.com',
      'purge suffix example.com',
      'purge suffix a..b',
      'renew dns.example.net',
      'drain',
      'reload true',
      'purge name a.b\\.+c',
    ])
  })

  test('say what was expected and what was received', async (t) => {
    const { socket } = await openDoors(t)
    const expected: readonly [line: string, code: string, message: RegExp][] = [
      ['GET /v1/cache/entries', 'bad_request', /^expected a domain name: received nothing$/],
      ['GET /v1/cache/entries?name=', 'bad_request', /^expected a domain name: received ""$/],
      ['GET /v1/cache/entries?name=a&name=b', 'bad_request', /^expected a domain name: received several$/],
      ['GET /v1/cache/entries?name=a..b', 'bad_request', /^expected a domain name: received "a\.\.b"$/],
      ['DELETE /v1/cache/entries', 'bad_request', /^expected exactly one of name, suffix and all: received nothing$/],
      ['DELETE /v1/cache/entries?all=true&suffix=a', 'bad_request', /^expected exactly one of name, suffix and all: received several$/],
      ['POST /v1/reload?dryrun=true', 'bad_request', /^expected no parameter but dryRun: received "dryrun"$/],
      ['POST /v1/reload?dryRun=yes', 'bad_request', /^expected true or false: received "yes"$/],
      ['GET /v1/status?a', 'bad_request', /^expected no parameter: received "a"$/],
      ['POST /v1/upstreams/x/enable', 'not_found', /^expected one of quad9, \[2620:fe::fe\]:853: received "x"$/],
      ['GET /v1/x%0a"', 'not_found', /^expected one of \/metrics, .*\/v1\/reload.*: received "\/v1\/x\\n\\""$/],
      ['GET /v1/reload', 'method_not_allowed', /^expected POST: received GET$/],
    ]
    for (const [line, code, message] of expected) {
      const error = errorOf(await socket(ask(line)))
      assert.equal(error.code, code, line)
      assert.match(error.message, message)
    }
  })

  test('name their methods, and answer HEAD where they answer GET', async (t) => {
    const open = await openDoors(t)
    const { socket, control } = open
    for (const [path = '', operations] of Object.entries((await documentOf(open)).paths)) {
      const methods = Object.keys(operations).map((method) => method.toUpperCase())
      const allow = methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', ')
      for (const method of ['OPTIONS', 'PATCH']) {
        const reply = await socket(ask(`${method} ${path.replace('{name}', 'quad9')}`))
        assert.deepEqual([reply.status, reply.headers.allow], [405, allow], path)
        assert.ok(!Object.keys(reply.headers).some((name) => name.startsWith('access-control-')))
      }
      const head = await socket(ask(`HEAD ${path.replace('{name}', 'quad9')}`))
      const status = path === '/v1/cache/entries' ? 400 : methods.includes('GET') ? 200 : 405
      assert.deepEqual([head.status, head.body], [status, ''], path)
    }
    assert.deepEqual(control.calls, [])
  })

  test('are never kept by anybody, never HTML, and have no CORS header', async (t) => {
    const { socket, tcp } = await openDoors(t)
    const lines = [
      ...REQUESTS.map(([line]) => line),
      'GET /metrics',
      'GET /healthz',
      'GET /nothing',
      'GET //x',
      'TRACE /',
      'PUT /v1/status',
    ]
    for (const line of lines) {
      for (const reply of [
        await socket(ask(line, 'Origin: http://evil.example\r\n')),
        await tcp(ask(line, 'Origin: http://evil.example\r\n')),
      ]) {
        const { headers } = reply
        assert.deepEqual([headers['cache-control'], headers['x-content-type-options']], ['no-store', 'nosniff'], line)
        assert.match(headers['content-type'] ?? '', /^(application\/json|text\/plain)/)
        assert.ok(!Object.keys(headers).some((name) => name.startsWith('access-control-')))
      }
    }
  })

  test('that fail are told apart from those that are wrong, without saying why', async (t) => {
    const { socket, control, log } = await openDoors(t)
    control.renderMetrics = () => {
      throw new Error('inner secret')
    }
    const reply = await socket(ask('GET /metrics'))
    assert.equal(reply.status, 500)
    assert.equal(errorOf(reply).code, 'internal')
    assert.doesNotMatch(reply.text, /inner secret/)
    assert.match(log(), /"level":50.*inner secret/)
    assert.equal((await socket(ask('GET /healthz'))).status, 200)
  })

  test('are all in the document, which is OpenAPI 3.1 and refers to nothing that is not there', async (t) => {
    const document = await documentOf(await openDoors(t))
    assert.match(document.openapi, /^3\.1\.\d$/)
    assert.match(document.info.version, /^\d+\.\d+\.\d+$/)
    const documented = Object.entries(document.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method} ${path}`),
    )
    assert.deepEqual(documented.toSorted(), [
      'delete /v1/cache/entries',
      'get /healthz',
      'get /metrics',
      'get /openapi.json',
      'get /readyz',
      'get /v1/cache',
      'get /v1/cache/entries',
      'get /v1/certificates',
      'get /v1/config',
      'get /v1/events',
      'get /v1/listeners',
      'get /v1/status',
      'get /v1/upstreams',
      'post /v1/certificates/renew',
      'post /v1/certificates/roll-over',
      'post /v1/drain',
      'post /v1/reload',
      'post /v1/upstreams/{name}/disable',
      'post /v1/upstreams/{name}/enable',
    ])
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)]
    assert.ok(references.length > 50)
    for (const [, name = ''] of references) assert.ok(document.components.schemas[name], name)
    for (const [path, operations] of Object.entries(document.paths)) {
      for (const operation of Object.values(operations)) {
        assert.ok(operation.summary, path)
        assert.equal(operation.security?.length === 0, /^\/(metrics|healthz|readyz)$/.test(path))
      }
    }
  })
})

test('docs/api.md names every path, and every code of an error with its status', async (t) => {
  const page = readFileSync(new URL('../../docs/api.md', import.meta.url), 'utf8').replaceAll(/ +/g, ' ')
  for (const path of Object.keys((await documentOf(await openDoors(t))).paths))
    assert.ok(page.includes(path.replace(/.*enable$/, '…/enable')), path)
  for (const [code, status] of Object.entries(REFUSALS)) assert.ok(page.includes(`| ${status} | \`${code}\` |`), code)
})

/** Objects with the properties that are documented, and no others. */
function closed(value: unknown): unknown {
  return typeof value === 'object' && value !== null && 'properties' in value ? { ...value, additionalProperties: false } : value
}

describe('monitoring', () => {
  async function readiness({ socket }: OpenDoors): Promise<[number, string]> {
    const { status, body } = await socket(ask('GET /readyz'))
    return [status, body]
  }

  test('says whether the gateway is ready, and why not', async (t) => {
    const doors = await openDoors(t)
    assert.deepEqual(await readiness(doors), [200, 'ready\n'])
    doors.control.reasons = ['it is starting', 'no upstream answers']
    assert.deepEqual(await readiness(doors), [503, 'not ready: it is starting\nnot ready: no upstream answers\n'])
    const { status, body } = await doors.socket(ask('GET /healthz'))
    assert.deepEqual([status, body], [200, 'ok\n'])
  })

  test('has the metrics in the format of Prometheus', async (t) => {
    const { tcp, control } = await openDoors(t)
    const reply = await tcp(ask('GET /metrics'))
    assert.equal(reply.body, control.metrics())
    assert.equal(reply.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
    assert.equal(reply.headers['content-length'], String(reply.body.length))
  })
})
