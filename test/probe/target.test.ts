import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { admitsOurselves, type ProbeFacts, probeTargets, targetKey } from '../../gateway/probe/target.ts'
import { formatEndpoint } from '../../net/address.ts'
import { prefixes, testConfig } from '../harness/gateway.ts'

const at = (host: string, port: number) => ({ host, port })
const FACTS: ProbeFacts = {
  identities: [{ names: ['*.example.com', 'b.example'] }, { names: ['c.example'] }],
  paths: ['/q', '/r'],
  needsToken: false,
  cleartext: [],
  proxied: [],
  certified: [],
}
const NOWHERE = { dns: [], dot: [], doq: [], doh: [] }

describe('the targets of the self-probe', () => {
  test('are all addresses on all transports', () => {
    const endpoints = { dns: [at('127.0.0.1', 53)], dot: [at('::1', 853)], doq: [at('192.0.2.1', 853)], doh: [at('127.0.0.1', 443)] }
    const keys = (http3: boolean) => probeTargets({ endpoints, http3 }, FACTS).map(targetKey)
    assert.deepEqual(keys(true), [
      'udp 127.0.0.1:53',
      'tcp 127.0.0.1:53',
      'dot [::1]:853',
      'doh 127.0.0.1:443',
      'doh3 127.0.0.1:443',
      'doq 192.0.2.1:853',
    ])
    assert.ok(!keys(false).includes('doh3 127.0.0.1:443'))
  })

  test('have no HTTP/3 where certificates of clients are asked for', () => {
    const doh = [at('127.0.0.1', 443), at('127.0.0.1', 444)]
    const targets = probeTargets({ endpoints: { ...NOWHERE, doh }, http3: true }, { ...FACTS, certified: [at('127.0.0.1', 443)] })
    assert.deepEqual(targets.map(targetKey), ['doh 127.0.0.1:443', 'doh 127.0.0.1:444', 'doh3 127.0.0.1:444'])
  })

  test('are asked at loopback where they are bound to every address', () => {
    const dns = [at('0.0.0.0', 53), at('::', 53), at('192.0.2.1', 53)]
    const targets = probeTargets({ endpoints: { ...NOWHERE, dns }, http3: false }, FACTS)
    assert.deepEqual(
      targets.slice(0, 3).map(({ server, endpoint }) => [formatEndpoint(server), formatEndpoint(endpoint)]),
      [
        ['127.0.0.1:53', '0.0.0.0:53'],
        ['[::1]:53', '[::]:53'],
        ['192.0.2.1:53', '192.0.2.1:53'],
      ],
    )
  })

  test('are called by a name of the default certificate, or by their address', () => {
    const called = (host: string, ...names: string[]) => {
      const listeners = { endpoints: { ...NOWHERE, doh: [at(host, 443)] }, http3: false }
      const [target] = probeTargets(listeners, { ...FACTS, identities: [{ names }] })
      return [target?.host, target?.path]
    }
    assert.deepEqual(called('127.0.0.1', '*.example.com', 'b.example'), ['probe.example.com', '/q'])
    assert.deepEqual(called('127.0.0.1', 'no name', 'b.example'), ['b.example', '/q'])
    assert.deepEqual(called('::'), ['::1', '/q'])
    assert.deepEqual(called('fe80::1%eth0'), ['fe80::1', '/q'])
    const unnamed = { endpoints: { ...NOWHERE, doh: [at('192.0.2.1', 443)] }, http3: false }
    assert.equal(probeTargets(unnamed, { ...FACTS, identities: [] })[0]?.host, '192.0.2.1')
  })
})

test('a list admits this machine by the address that it asks from', () => {
  const admits = (host: string, list: readonly string[], own: readonly string[] | null = null) => {
    const [target] = probeTargets({ endpoints: { ...NOWHERE, dns: [at(host, 53)] }, http3: false }, FACTS)
    assert.ok(target)
    const config = testConfig([], { access: { dns: prefixes(...list), encrypted: prefixes('0.0.0.0/0'), tokenFile: null } })
    const dns = [
      {
        endpoint: at(host, 53),
        access: own === null ? null : prefixes(...own),
        proxyProtocol: null,
        clientCa: null,
        cleartext: false,
        byDefault: false,
      },
    ]
    return admitsOurselves(target, { access: config.access, listen: { ...config.listen, dns } })
  }
  assert.ok(admits('127.0.0.1', ['127.0.0.0/8']))
  assert.ok(admits('127.0.0.2', ['127.0.0.1']))
  assert.ok(!admits('0.0.0.0', ['192.0.2.0/24']))
  assert.ok(admits('192.0.2.1', ['192.0.2.0/24']))
  assert.ok(admits('::', ['::1']))
  assert.ok(!admits('127.0.0.1', ['127.0.0.0/8'], ['192.0.2.0/24']))
  assert.ok(admits('127.0.0.1', ['192.0.2.0/24'], ['127.0.0.1']))
})
