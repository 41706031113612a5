import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { textLeaves } from '../../gateway/config/json-schema.ts'
import { configJsonSchema } from '../../gateway/config/load.ts'

interface Node {
  readonly type?: string | readonly string[]
  readonly description?: string
  readonly default?: unknown
  readonly pattern?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly additionalProperties?: boolean
  readonly properties?: Readonly<Record<string, Node>>
  readonly required?: readonly string[]
  readonly items?: Node
  readonly anyOf?: readonly Node[]
}

const schema = configJsonSchema() as Node
/** Maps that are no sections: what is in them goes together. */
const PAIRS = ['upstreams[].clientCertificate']
/** One certificate by ACME, and what is in it. */
const isAcme = (path: string): boolean => path.startsWith('tls.acme')

/** Every key of the form, as "listen.doh[].address". */
const keys = new Map([...nodes(schema, '')].filter(([path]) => path !== ''))

function* nodes(node: Node, path: string): Generator<[path: string, node: Node]> {
  if (!path.endsWith('[]')) yield [path, node]
  for (const [key, child] of Object.entries(node.properties ?? {})) yield* nodes(child, path === '' ? key : `${path}.${key}`)
  if (node.items !== undefined) yield* nodes(node.items, `${path}[]`)
  for (const child of node.anyOf ?? []) for (const [inner, each] of nodes(child, path)) if (inner !== path) yield [inner, each]
}

describe('configJsonSchema()', () => {
  test('has every key there is, and no other', () => {
    const expected = `
      listen: doh doh[].address doh[].access doh[].proxyProtocol doh[].clientCa doh[].cleartext dot dot[].address dot[].access dot[].proxyProtocol dot[].clientCa doq doq[].address doq[].access doq[].clientCa dns dns[].address dns[].access dns[].proxyProtocol admin admin.address admin.hosts admin.tokenFile
      public: name addresses ports ports.doh ports.dot ports.doq
      access: dns encrypted tokens tokens.file
      doh: paths http3 json landing proxy trustedProxies
      tls: certificates certificates[].cert certificates[].key certificates[].pfx certificates[].passwordFile acme acme.directory acme.email acme.names acme.challenge acme.http acme.dns acme.dns.hook acme.dns.update acme.dns.tsig acme.dns.tsig.name acme.dns.tsig.algorithm acme.dns.tsig.secretFile acme.dns.responder acme.dns.zone acme.dns.timeout acme.dns.servers acme.ca acme.eab acme.eab.keyId acme.eab.keyFile acme.profile acme.preferredChain acme.keys acme[].directory acme[].email acme[].names acme[].challenge acme[].http acme[].dns acme[].dns.hook acme[].dns.update acme[].dns.tsig acme[].dns.tsig.name acme[].dns.tsig.algorithm acme[].dns.tsig.secretFile acme[].dns.responder acme[].dns.zone acme[].dns.timeout acme[].dns.servers acme[].ca acme[].eab acme[].eab.keyId acme[].eab.keyFile acme[].profile acme[].preferredChain acme[].keys minVersion ticketKeys ticketKeys.file
      state
      routes: [].suffix [].upstreams
      upstreams: [].name [].url [].serverName [].ca [].pins [].clientCertificate [].clientCertificate.cert [].clientCertificate.key [].weight [].connections [].pipelining [].maxAge [].idle [].source [].socks [].randomizeCase
      strategy
      bootstrap
      timeouts: query handshake drain
      cache: memory serveStale prefetch persist
      edns: padding cookies clientSubnet
      workers
      limits: connections connectionsPerClient handshakesPerSecond inFlightPerClient inFlightPerConnection queriesPerSecond exempt memory udp udp.perSecond udp.slip udp.exempt idle idle.stream idle.http idle.quic
      log: level queries`
    const lines = expected.trim().split(/\n\s*/)
    const paths = lines.flatMap((line) => {
      const [section = '', below] = line.split(': ')
      return [section].concat((below?.split(' ') ?? []).map((key) => (key.startsWith('[') ? section + key : `${section}.${key}`)))
    })
    assert.deepEqual([...keys.keys()].toSorted(), paths.toSorted())
  })

  test('describes every key in one line', () => {
    for (const [path, { description }] of keys) assert.match(description ?? '', /^[^\n]{3,160}$/, path)
  })

  test('has the defaults as the operator writes them', () => {
    const defaults = [
      'listen.dot',
      'listen.admin',
      'access.dns',
      'tls.minVersion',
      'state',
      'timeouts.query',
      'cache.memory',
      'cache.persist',
      'workers',
      'edns.padding',
      'edns.cookies',
      'log.queries',
    ]
    assert.deepEqual(
      defaults.map((path) => keys.get(path)?.default),
      [
        ['127.0.0.1:8853', '[::1]:8853'],
        '127.0.0.1:9353',
        ['loopback', 'private'],
        '1.3',
        './state',
        '4s',
        '64MiB',
        false,
        'auto',
        true,
        true,
        'none',
      ],
    )
  })

  test('allows nothing unknown, requires no setting, and lets sections be empty', () => {
    for (const [path, node] of [['', schema] as const, ...keys]) {
      if (node.properties === undefined || PAIRS.includes(path) || isAcme(path)) continue
      assert.deepEqual(
        [node.additionalProperties, node.required, node.default, node.type],
        [false, undefined, undefined, ['object', 'null']],
        path,
      )
    }
    for (const pair of PAIRS.map((path) => keys.get(path))) {
      assert.deepEqual([pair?.required, pair?.type, pair?.additionalProperties], [['cert', 'key'], 'object', false])
    }
  })

  test('has certificates by ACME as a map, or as a list of maps', () => {
    const [one, list] = keys.get('tls.acme')?.anyOf ?? []
    assert.deepEqual(list?.items, one)
    assert.deepEqual([one?.required, one?.additionalProperties], [['names'], false])
    assert.deepEqual(one?.properties?.dns?.properties?.tsig?.required, ['name', 'secretFile'])
    assert.deepEqual(one?.properties?.eab?.required, ['keyId', 'keyFile'])
  })

  test('has ranges, and patterns that editors can compile', () => {
    const { minimum, maximum } = keys.get('limits.inFlightPerConnection') ?? {}
    assert.deepEqual([minimum, maximum], [1, 10_000])
    const pattern = (path: string) => new RegExp(keys.get(path)?.pattern ?? '(', 'u')
    assert.ok(pattern('timeouts.query').test('4s') && !pattern('timeouts.query').test('4'))
    assert.ok(pattern('log.queries').test('sample:0.01') && !pattern('log.queries').test('sample:2'))
    const [one, several] = keys.get('upstreams[].url')?.anyOf ?? []
    for (const node of [one, several?.items]) {
      const url = new RegExp(node?.pattern ?? '(', 'u')
      assert.ok(url.test('tls://[::1]:53') && url.test('h3://dns.example/dns-query') && !url.test('tls://::1'))
    }
    const paths = new RegExp(keys.get('doh.paths')?.items?.pattern ?? '(', 'u')
    assert.ok(paths.test('/dns-query') && paths.test('/') && !paths.test('/../x'))
  })

  test('belongs to the caller', () => {
    Object.assign(configJsonSchema(), { properties: {} })
    assert.deepEqual(configJsonSchema(), schema)
  })
})

describe('textLeaves()', () => {
  test('are all settings but sections and lists of maps', () => {
    const leaves = textLeaves().map(({ path }) => path.join('.'))
    const settings = [...keys].filter(([path, node]) => !path.includes('[]') && node.properties === undefined).map(([path]) => path)
    // one that is a map at will is set as a whole
    const whole = settings.filter(
      (path) => !['tls.certificates', 'routes'].includes(path) && !isAcme(path) && !path.startsWith('listen.admin.'),
    )
    assert.deepEqual(leaves.toSorted(), whole.toSorted())
  })

  test('differ by more than underscores and letter case', () => {
    const leaves = textLeaves().map(({ path }) => path.join('').toUpperCase())
    assert.equal(new Set(leaves).size, leaves.length)
    // a setting whose name ends in _FILE would take the variable that names another one's file
    for (const leaf of leaves) assert.ok(!leaves.includes(`${leaf}FILE`), leaf)
  })
})
