import assert from 'node:assert/strict'
import { createSocket, type RemoteInfo } from 'node:dgram'
import { once } from 'node:events'
import type { NetworkInterfaceInfo } from 'node:os'
import test, { describe } from 'node:test'
import { listenWarnings } from '../../gateway/assembly/listeners.ts'
import type { Endpoint } from '../../net/address.ts'
import { interfaceAddresses } from '../../net/interface-addresses.ts'
import { prefixes, runGateway, type TestGateway, testConfig } from '../harness/gateway.ts'
import { free } from '../harness/keeper.ts'
import { ask, at, listen } from '../harness/reload.ts'
import { runThreads } from '../harness/threads.ts'
import { until } from '../harness/until.ts'

const ANY: Endpoint = { host: '0.0.0.0', port: 0 }
const PLAIN = { dot: [], doh: [], doq: [] }

/** From where the answer comes to a client at 127.0.0.1. */
async function sourceOf({ dns: { port } }: TestGateway, host: string): Promise<string> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const answer = once(socket, 'message')
  socket.send(ask(), port, host)
  const [, { address }] = (await answer) as [Buffer, RemoteInfo]
  socket.close()
  return address
}

describe('a wildcard for plain DNS', () => {
  test('is one listener, ready and reloadable, that answers from each address of the machine in every worker', async () => {
    await using gateway = await runThreads([], listen({ ...PLAIN, dns: [at(ANY)] }), { probing: {} })
    const { port } = gateway.dns
    assert.deepEqual(gateway.gateway.facts.endpoints.dns, [{ host: '0.0.0.0', port }])
    await until(async () => (await fetch(`http://127.0.0.1:${gateway.admin.port}/readyz`)).status === 200)
    const answers = async (): Promise<void> => {
      for (const host of interfaceAddresses('IPv4')) for (let i = 0; i < 4; i++) assert.equal(await sourceOf(gateway, host), host)
    }
    await answers()
    const outcome = await gateway.reload({ access: { dns: prefixes('127.0.0.0/16'), encrypted: [], tokenFile: null } })
    assert.equal(outcome.outcome, 'applied', JSON.stringify(outcome))
    await answers()
    await gateway.worker(0).tell({ name: 'rebind', socket: 'udp', endpoint: { host: '0.0.0.0', port } })
    await answers()
  })

  test('stands beside an address of its own where workers share addresses, and nowhere else', {
    skip: process.platform === 'linux' ? false : 'needs SO_REUSEPORT of Linux',
  }, async () => {
    const { port } = await free()
    const both = listen({ ...PLAIN, dns: [at({ ...ANY, port }), at({ host: '127.0.0.1', port })] })
    await assert.rejects(runGateway([], both), { code: 'ATLAS_LISTEN' })
    await using gateway = await runThreads([], both)
    assert.equal(await sourceOf(gateway, '127.0.0.1'), '127.0.0.1')
  })

  test('is nothing to be warned of; on QUIC it is', () => {
    const own = (address: string): NetworkInterfaceInfo => {
      return { address, family: 'IPv4', internal: false, netmask: '', mac: '', cidr: null }
    }
    const wildcards = listen({ dns: [at(ANY)], doq: [at(ANY)], dot: [at(ANY)], doh: [at(ANY)] })
    const warnings = listenWarnings(testConfig([], wildcards), { eth0: [own('192.0.2.1'), own('192.0.2.2')] })
    assert.deepEqual(
      warnings.map((warning) => warning.split(' ')[0]),
      ['listen.doq', 'listen.doh'],
    )
  })
})
