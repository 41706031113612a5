import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { type Finished, freePort, type Holdings, missing, run, start } from '../harness/real.ts'
import {
  ADDRESS,
  askMany,
  assertForwards,
  dig,
  IDENTITY,
  type Lab,
  metric,
  NAMES,
  OTHER_PIN,
  pinOf,
  type RealGateway,
  startGateway,
  startLab,
  startUnbound,
  unboundServer,
} from './lab.ts'

/** Names that a forwarder is asked for; no cache has them. */
const MANY = 500
/** At once: as the names of a page. */
const AT_ONCE = 10
/** Queries for each of its connections, at least. */
const SHARED_BY = 50
/** RFC 8467 §4.1: queries and responses in blocks of so many octets. */
const [QUERY_BLOCK, BLOCK] = [128, 468]
const PADDING = 12

/** Several hundred names, on connections that stay. */
async function assertForwardsMany({ gateway, holdings }: Lab, port: number): Promise<void> {
  const count = (): Promise<number[]> =>
    Promise.all(['atlas_queries_total{transport="dot"', 'atlas_handshakes_total{transport="dot"'].map((begin) => metric(gateway, begin)))
  const [queries = 0, handshakes = 0] = await count()
  await askMany(holdings, port, { count: MANY, atOnce: AT_ONCE })
  const [queriesAfter = 0, handshakesAfter = 0] = await count()
  assert.ok(queriesAfter - queries >= MANY, `${queriesAfter - queries} queries`)
  const connections = handshakesAfter - handshakes
  assert.ok(connections <= MANY / SHARED_BY, `${connections} connections`)
}

function stubbyConfig(port: number, { dot }: RealGateway, authentication: readonly string[], ca?: string): string {
  return `resolution_type: GETDNS_RESOLUTION_STUB
dns_transport_list: [ GETDNS_TRANSPORT_TLS ]
tls_authentication: GETDNS_AUTHENTICATION_REQUIRED
tls_query_padding_blocksize: ${QUERY_BLOCK}
edns_client_subnet_private: 1
idle_timeout: 10000
${ca === undefined ? '' : `tls_ca_file: "${ca}"`}
listen_addresses: [ 127.0.0.1@${port} ]
upstream_recursive_servers:
  - address_data: 127.0.0.1
    tls_port: ${dot}
${authentication.map((line) => `    ${line}\n`).join('')}`
}

function pinset(pin: string): readonly string[] {
  return ['tls_pubkey_pinset:', '  - digest: "sha256"', `    value: ${pin}`]
}

const STUBBY = { skip: missing('stubby', 'getdns_query', 'dig', 'dnsperf') }

test('stubby and getdns_query ask over TLS only if the certificate has the name or the key', STUBBY, async (t) => {
  const lab = await startLab(t)
  const { gateway, holdings } = lab
  const startStubby = async (authentication: readonly string[], ca?: string): Promise<number> => {
    const port = await freePort()
    const file = join(holdings.folder, `stubby-${port}.yml`)
    writeFileSync(file, stubbyConfig(port, gateway, authentication, ca))
    await start(holdings, 'stubby', ['-l', '-C', file]).until(/Starting DAEMON/)
    return port
  }
  const byName = await startStubby(['tls_auth_name: "localhost"'], gateway.ca)
  await assertForwards(byName)
  await assertForwardsMany(lab, byName)
  await assertForwards(await startStubby(pinset(pinOf(gateway))))
  for (const wrong of [await startStubby(['tls_auth_name: "dns.example.net"'], gateway.ca), await startStubby(pinset(OTHER_PIN))]) {
    const refused = await dig(wrong, NAMES.www)
    assert.doesNotMatch(refused.text, new RegExp(ADDRESS), refused.text)
  }
  await assertGetdns(gateway)
})

/** The library of stubby, which shows what was on the wire. */
async function assertGetdns({ dot, ca, ...gateway }: RealGateway): Promise<void> {
  // stub, TLS alone, authentication required
  const ask = (name: string, ...rest: readonly string[]): Promise<Finished> =>
    run('getdns_query', [
      '-s',
      '-L',
      '-m',
      '-j',
      '-e',
      '10000',
      `@127.0.0.1#${dot}~${name}`,
      '+return_call_reporting',
      ...rest,
      NAMES.www,
      'A',
    ])
  const settings = `{ "tls_ca_file": "${ca}" }`
  const right = await ask('localhost', settings, '-P', String(QUERY_BLOCK))
  assert.equal(right.code, 0, right.text)
  const { call_reporting, replies_full, just_address_answers } = JSON.parse(right.stdout.toString())
  const [{ tls_auth_status, tls_version, server_keepalive_received, query }] = call_reporting
  assert.deepEqual([tls_auth_status, tls_version, server_keepalive_received], ['Success', 'TLSv1.3', 1])
  assert.ok(query.additional[0].rdata.options.some(({ option_code }: { option_code: number }) => option_code === PADDING))
  assert.equal(just_address_answers[0].address_data, ADDRESS)
  assert.equal(replies_full[0].length, BLOCK)

  const pin = (value: string): readonly string[] => ['-K', `pin-sha256="${value}"`]
  assert.equal((await ask('localhost', ...pin(pinOf({ dot, ca, ...gateway })))).code, 0)
  for (const wrong of [ask('dns.example.net', settings), ask('localhost', settings, ...pin(OTHER_PIN)), ask('localhost')]) {
    const { code, text } = await wrong
    assert.notEqual(code, 0, text)
    assert.doesNotMatch(text, new RegExp(ADDRESS))
  }
}

const RESOLVERS = { skip: missing('kresd', 'dig', 'dnsperf') }

test('unbound and knot-resolver forward to the gateway over TLS with the certificate checked, and it to unbound', RESOLVERS, async (t) => {
  const lab = await startLab(t)
  await assertUnboundForwards(lab)
  await assertKresdForwards(lab)
  await assertGatewayForwards(lab.gateway, lab.holdings)
})

async function assertUnboundForwards(lab: Lab): Promise<void> {
  const { gateway, holdings } = lab
  const startFront = async (name: string): Promise<number> => {
    const port = await freePort()
    const forward = `  tls-cert-bundle: "${gateway.ca}"
forward-zone:
  name: "."
  forward-tls-upstream: yes
  forward-addr: 127.0.0.1@${gateway.dot}#${name}
`
    await startUnbound(holdings, `front-${port}`, unboundServer(port) + forward)
    return port
  }
  const port = await startFront('localhost')
  await assertForwards(port)
  await assertForwardsMany(lab, port)
  const refused = await dig(await startFront('dns.example.net'), NAMES.www)
  assert.match(refused.text, /status: SERVFAIL/, refused.text)
}

/** unbound serves with the gateway's own certificate, and passes on to that gateway. */
async function assertGatewayForwards(gateway: RealGateway, holdings: Holdings): Promise<void> {
  const port = await freePort()
  const identity = join(gateway.state, IDENTITY)
  const server = `${unboundServer(port)}  tls-port: ${port}
  tls-service-pem: "${identity}/chain.pem"
  tls-service-key: "${identity}/key.pem"
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@${gateway.dns}
`
  await startUnbound(holdings, 'tls', server)
  const upstream = `{ name: lab, url: "tls://127.0.0.1:${port}", serverName: localhost, ca: ${gateway.ca} }`
  const front = await startGateway(holdings, upstream, { name: 'front' })
  await assertForwards(front.dns)
}

/** Without what a resolver does on its own: root servers and their keys. The last line is there when the addresses are bound. */
function kresdConfig(port: number, { dot, ca }: RealGateway, name: string): string {
  return `net.listen('127.0.0.1', ${port}, { kind = 'dns' })
modules.unload('detect_time_skew')
modules.unload('priming')
trust_anchors.remove('.')
cache.size = 10 * MB
policy.add(policy.all(policy.TLS_FORWARD({ { '127.0.0.1@${dot}', hostname = '${name}', ca_file = '${ca}' } })))
io.stderr:write('listening\\n')
`
}

async function assertKresdForwards(lab: Lab): Promise<void> {
  const { gateway, holdings } = lab
  const startKresd = async (name: string): Promise<number> => {
    const port = await freePort()
    const file = join(holdings.folder, `kresd-${port}.lua`)
    writeFileSync(file, kresdConfig(port, gateway, name))
    const folder = join(holdings.folder, `kresd-${port}`)
    mkdirSync(folder)
    await start(holdings, 'kresd', ['-n', '-c', file, folder]).until(/^listening$/m)
    return port
  }
  const port = await startKresd('localhost')
  await assertForwards(port)
  await assertForwardsMany(lab, port)
  const refused = await dig(await startKresd('dns.example.net'), NAMES.www)
  assert.match(refused.text, /status: SERVFAIL/, refused.text)
}
