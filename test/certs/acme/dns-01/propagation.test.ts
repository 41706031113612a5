import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { createUpdateSolver, type DnsSolverDependencies } from '../../../../certs/acme/dns-01/solver.ts'
import { response, wireName } from '../../../harness/messages.ts'
import { udpServer } from '../../../harness/servers.ts'
import { clientFor, txtData, UpdateServer, type UpdateServerOptions, withOctet } from '../../../harness/update-server.ts'
import { challengeFor, dependencies, txtOf } from './challenges.ts'

const RECORD = '_acme-challenge.www.example.net'
const CHALLENGE = challengeFor('www.example.net')
const [FIRST, SECOND, DOWN] = ['192.0.2.1', '192.0.2.2', '192.0.2.3']
const CLOSED = { host: '127.0.0.1', port: 1 }

async function serve(t: TestContext, options: UpdateServerOptions = {}): Promise<UpdateServer> {
  const server = await UpdateServer.start({ zones: ['example.net'], ...options })
  t.after(() => server[Symbol.asyncDispose]())
  return server
}

const address = (text: string): Buffer => Buffer.from(text.split('.').map(Number))

/** A zone with a hidden primary and three servers, and a resolver that knows them. */
async function world(t: TestContext, options: { first?: UpdateServerOptions; second?: UpdateServerOptions } = {}) {
  const primary = await serve(t, {
    records: { 'example.net 2': ['ns1', 'ns2', 'ns3'].map((label) => wireName(`${label}.example.org`)) },
  })
  const [first, second] = [await serve(t, options.first), await serve(t, options.second)]
  const resolver = await serve(t, {
    recurses: true,
    records: {
      'ns1.example.org 1': [address(FIRST)],
      'ns2.example.org 1': [address(SECOND)],
      'ns2.example.org 28': [Buffer.alloc(16)],
      'ns3.example.org 1': [address(DOWN)],
    },
  })
  const client = clientFor({ [FIRST]: first.endpoint, [SECOND]: second.endpoint, [DOWN]: CLOSED })
  const config = { server: primary.endpoint, zone: 'example.net', tsig: null, timeoutMs: 60_000, servers: [] }
  const solver = (rest: Partial<DnsSolverDependencies> = {}) => {
    const deps = dependencies({ client, resolvers: () => [CLOSED, resolver.endpoint], ...rest })
    return { deps, solver: createUpdateSolver({ ...config, server: primary.endpoint }, deps) }
  }
  return { primary, first, second, resolver, solver }
}

test('present() waits until each server of the zone that answers shows the record', async (t) => {
  const { first, second, solver } = await world(t)
  const show = (server: UpdateServer) => server.records.set(`${RECORD} 16`, [txtData('other'), txtData(txtOf(CHALLENGE))])
  const pauses: number[] = []
  const made = solver({
    pause: async (ms) => {
      pauses.push(ms)
      if (pauses.length === 1) show(first)
      if (pauses.length === 6) show(second)
    },
  })
  await made.solver.present(CHALLENGE)
  assert.deepEqual(pauses, [1000, 2000, 4000, 8000, 15_000, 15_000])
  // what has shown it is not asked again
  assert.equal(first.questions.length, 2)
  assert.equal(second.questions.length, 7)
})

test('present() gives up after the time that is set, and says who does not show it', async (t) => {
  const { first, solver } = await world(t, { second: { zones: ['example.org'] } })
  first.records.set(`${RECORD} 16`, [txtData('other')])
  const { deps, solver: made } = solver()
  await assert.rejects(made.present(CHALLENGE), (error: Error) => {
    assert.match(error.message, /^Cannot show the CA that www\.example\.net is ours by dns-01: within 60 s not all servers have shown/)
    assert.ok(error.message.includes(`${RECORD}. TXT "${txtOf(CHALLENGE)}": ns1.example.org. (192.0.2.1:53): the record is not there`))
    assert.match(error.message, /ns2\.example\.org\. \(192\.0\.2\.2:53\): REFUSED; ns3\.example\.org\. \(192\.0\.2\.3:53\): .*ECONNREFUSED/)
    return true
  })
  assert.equal(
    deps.pauses.reduce((sum, ms) => sum + ms, 0),
    60_000,
  )
})

test('a server that is down, or not authoritative, does not keep the record from being seen', async (t) => {
  const shown = { records: { [`${RECORD} 16`]: [txtData(txtOf(CHALLENGE))] } }
  // the second one has it from others
  const { second, solver } = await world(t, { first: shown, second: { ...shown, recurses: true } })
  const { deps, solver: made } = solver()
  await made.present(CHALLENGE)
  assert.deepEqual(deps.pauses, [])
  assert.deepEqual(second.questions, [`${RECORD} 16`])
})

test('a server that is not authoritative shows nothing', async (t) => {
  const shown = { records: { [`${RECORD} 16`]: [txtData(txtOf(CHALLENGE))] }, recurses: true }
  const { solver } = await world(t, { first: shown, second: shown })
  await assert.rejects(solver().solver.present(CHALLENGE), /ns1\.example\.org\. \(192\.0\.2\.1:53\): it is not authoritative for the name/)
})

test('where no resolver is known but the gateway, servers have to be named', async (t) => {
  const primary = await serve(t)
  const config = { server: primary.endpoint, zone: 'example.net', tsig: null, timeoutMs: 5000, servers: [] }
  await assert.rejects(createUpdateSolver(config, dependencies()).present(CHALLENGE), /no server of the zone example\.net\. has an address/)
  await createUpdateSolver({ ...config, servers: [primary.endpoint] }, dependencies()).present(CHALLENGE)
})

test('an answer over UDP that is cut off is asked for over TCP; one that is malformed shows nothing', async (t) => {
  const primary = await serve(t, { tamper: (answer) => answer })
  // the same port over UDP is somebody who cuts everything off
  const udp = await udpServer((query, reply) => reply(response(query, { flags: 0x8700 })))
  t.after(() => udp[Symbol.asyncDispose]())
  const client = clientFor({})
  const config = { server: primary.endpoint, zone: 'example.net', tsig: null, timeoutMs: 5000, servers: [primary.endpoint] }
  const truncating = { ...client, udp: (_: unknown, message: Uint8Array, signal: AbortSignal) => client.udp(udp.endpoint, message, signal) }
  await createUpdateSolver(config, dependencies({ client: truncating })).present(CHALLENGE)
  assert.equal(udp.queries.length, 1)
  const garbled = await serve(t, { tamper: (answer) => withOctet(answer, 7, 9) })
  const other = { ...config, servers: [garbled.endpoint] }
  await assert.rejects(createUpdateSolver(other, dependencies()).present(CHALLENGE), /127\.0\.0\.1:\d+: the answer is malformed$/)
})
