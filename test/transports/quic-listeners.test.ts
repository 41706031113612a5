import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { IdentityStore } from '../../certs/store.ts'
import { tlsPolicy } from '../../certs/tls-policy.ts'
import type { TransportMeter } from '../../dns/contracts.ts'
import type { Failure } from '../../dns/failure.ts'
import { type Endpoint, PrefixSet } from '../../net/address.ts'
import { monotonicClock } from '../../net/clock.ts'
import { Wheel } from '../../net/wheel.ts'
import { DoqTransport } from '../../transports/doq/doq.ts'
import { started } from '../certs/local.ts'
import { prefixes } from '../harness/gateway.ts'
import { testGovernor } from '../harness/limits.ts'
import { question } from '../harness/messages.ts'
import { dialQuic, engine } from '../harness/quic.ts'
import { frame } from '../harness/servers.ts'
import { until } from '../harness/until.ts'

const METER = { connectionOpened: () => {}, connectionClosed: () => {}, handshake: () => {}, dropped: () => {} }

async function authority() {
  const { stateDir, ca } = await started()
  return { identity: ca.identity, roots: readFileSync(join(stateDir, 'ca.pem'), 'utf8') }
}

function doq(identities: IdentityStore, meter: TransportMeter = METER): DoqTransport {
  return new DoqTransport(
    { engine: engine(), identities },
    {
      acceptor: { accept: () => {} },
      governor: testGovernor(),
      onTrouble: () => {},
      clock: monotonicClock,
      wheel: new Wheel(monotonicClock),
      meter,
    },
  )
}

const SETTINGS = { handshakeMs: 5000, idleMs: 30_000, inFlight: 100 }
const listen = [{ endpoint: { host: '127.0.0.1', port: 0 }, access: new PrefixSet(prefixes('127.0.0.0/8')), reusePort: false }]

test('a new certificate takes the place of the old one on the same address', async (t) => {
  const [before, after] = [await authority(), await authority()]
  const store = new IdentityStore([before.identity], { policy: tlsPolicy({ minVersion: 'TLSv1.3' }), extraNames: [] })
  const transport = doq(store)
  t.after(() => transport.close())
  await transport.reconfigure({ listen, connection: SETTINGS })
  const [endpoint] = transport.endpoints
  assert.ok(endpoint !== undefined)
  const client = await dialQuic({ endpoint, ca: before.roots, protocol: 'doq' })
  await client.ready.promise
  store.replace([after.identity])
  assert.equal(await Promise.race([client.ended.promise, turn('open')]), 'open')
  await transport.settle(1000)
  // RFC 9000 §10.2.3: APPLICATION_ERROR where the server has not heard yet that the handshake is over
  assert.ok([0x0, 0xc].includes((await client.ended.promise).code))
  await client[Symbol.asyncDispose]()
  for (;;) {
    const next = await dialQuic({ endpoint, ca: after.roots, protocol: 'doq' })
    const served = await Promise.race([next.ready.promise.then(() => true), next.ended.promise.then(() => false)])
    await next[Symbol.asyncDispose]()
    // the old listener may have met it, on its way out
    if (served) break
    await turn()
  }
  assert.deepEqual(transport.endpoints, [endpoint])
})

test('who comes while connections make way for a new certificate is not turned away', async (t) => {
  const [before, after] = [await authority(), await authority()]
  const store = new IdentityStore([before.identity], { policy: tlsPolicy({ minVersion: 'TLSv1.3' }), extraNames: [] })
  let opened = 0
  const transport = doq(store, { ...METER, connectionOpened: () => void opened++ })
  t.after(() => transport.close())
  await transport.reconfigure({ listen, connection: SETTINGS })
  const [endpoint] = transport.endpoints
  assert.ok(endpoint !== undefined)
  await using busy = await dialQuic({ endpoint, ca: before.roots, protocol: 'doq' })
  await busy.ready.promise
  // nobody answers it, so this connection takes all the time that it may have
  busy.send(frame(question({ name: 'www.example.com', id: 0 })))
  store.replace([after.identity])
  const settled = transport.settle(1000)
  // a slow machine may be so late that it meets the new one
  await using late = await dialQuic({ endpoint, ca: before.roots + after.roots, protocol: 'doq' })
  await late.ready.promise
  await until(() => opened === 2)
  await Promise.all([settled, busy.ended.promise])
})

test('reconfigure() leaves the addresses that stay alone; the others end with settle()', async (t) => {
  const { identity, roots } = await authority()
  const transport = doq(new IdentityStore([identity], { policy: tlsPolicy({ minVersion: 'TLSv1.3' }), extraNames: [] }))
  t.after(() => transport.close())
  const two = [...listen, ...listen]
  await transport.reconfigure({ listen: two, connection: SETTINGS })
  const [first, second] = transport.endpoints
  assert.ok(first !== undefined && second !== undefined)
  await using client = await dialQuic({ endpoint: first, ca: roots, protocol: 'doq' })
  await client.ready.promise
  await using other = await dialQuic({ endpoint: second, ca: roots, protocol: 'doq' })
  await other.ready.promise
  await transport.reconfigure({ listen, connection: SETTINGS })
  assert.deepEqual(transport.endpoints, [first])
  // until it is settled, there is a way back without binding anything
  const at = (endpoint: Endpoint) => ({ ...listen[0], endpoint }) as (typeof listen)[number]
  await transport.reconfigure({ listen: [at(second), at(first)], connection: SETTINGS })
  assert.deepEqual(transport.endpoints, [second, first])
  assert.equal(await Promise.race([client.ended.promise, other.ended.promise, turn('open')]), 'open')
  await transport.reconfigure({ listen: [at(first)], connection: SETTINGS })
  await transport.settle(5000)
  assert.equal((await other.ended.promise).code, 0)
  const stranger = createSocket('udp4').bind(second.port, '127.0.0.1')
  await once(stranger, 'listening')
  await assert.rejects(transport.reconfigure({ listen: [at(first), at(second)], connection: SETTINGS }), { code: 'ATLAS_LISTEN' })
  stranger.close()
  assert.deepEqual(transport.endpoints, [first])
  assert.equal(await Promise.race([client.ended.promise, turn('open')]), 'open')
})

test('both wildcards on one port serve both families, each by its own access list', {
  skip: hasIpv6() ? false : 'no IPv6 here',
}, async (t) => {
  const { identity, roots } = await authority()
  /** What became of each connection, as the server says it. */
  const heard: string[] = []
  const meter = { ...METER, handshake: (outcome: string) => heard.push(outcome), dropped: ({ code }: Failure) => heard.push(code) }
  const transport = doq(new IdentityStore([identity], { policy: tlsPolicy({ minVersion: 'TLSv1.3' }), extraNames: [] }), meter)
  t.after(() => transport.close())
  const port = await freePort()
  const on = (host: string, access: string) => ({ endpoint: { host, port }, access: new PrefixSet(prefixes(access)), reusePort: false })
  const isServed = async (host: string): Promise<boolean> => {
    const client = await dialQuic({ endpoint: { host, port }, ca: roots, protocol: 'doq' })
    await until(() => heard.length > 0)
    await client.connection.destroy()
    return heard.splice(0)[0] === 'ok'
  }
  await transport.reconfigure({ listen: [on('0.0.0.0', '127.0.0.0/8'), on('::', '2001:db8::/32')], connection: SETTINGS })
  assert.deepEqual([await isServed('127.0.0.1'), await isServed('::1')], [true, false])
  await transport.reconfigure({ listen: [], connection: SETTINGS })
  await transport.reconfigure({ listen: [on('::', '::/0')], connection: SETTINGS })
  assert.deepEqual([await isServed('127.0.0.1'), await isServed('::1')], [false, true])
})

function hasIpv6(): boolean {
  return Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'))
}

async function freePort(): Promise<number> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  return port
}
