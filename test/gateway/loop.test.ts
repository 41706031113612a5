import assert from 'node:assert/strict'
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import test, { describe, type TestContext } from 'node:test'
import { Verdict } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import { loopQuestion } from '../../dns/own-question.ts'
import { Query } from '../../dns/query.ts'
import { readQuery } from '../../dns/query-reader.ts'
import type { Config, UpstreamConfig } from '../../gateway/config/config.ts'
import { LoopStage, loopLabel } from '../../gateway/stages/loop.ts'
import type { Endpoint } from '../../net/address.ts'
import { CLIENTS } from '../harness/clients.ts'
import { runGateway, type TestGateway, testConfig, upstreamConfig } from '../harness/gateway.ts'
import { free } from '../harness/keeper.ts'
import { aRecord, client, question, response } from '../harness/messages.ts'
import { edeOf, rcode } from '../harness/pipeline.ts'
import { answering, ask, at, listen } from '../harness/reload.ts'
import { type Handler, type TestServer, udpServer } from '../harness/servers.ts'
import { until } from '../harness/until.ts'
import { untilStatus, upstreamStatus } from '../harness/upstream-state.ts'

const LABEL = loopLabel('0123456789abcdef')
const TXT = 16
const OTHER = 0

/** What the stage makes of `wire`, and which nonces it tells of. */
function meet(wire: Uint8Array): { verdict: Verdict; failure: Failure | null; nonces: readonly number[] } {
  const nonces: number[] = []
  const query = new Query(client(), { deliver() {}, refuse() {} }, 0, wire)
  assert.equal(readQuery(query), null)
  const verdict = new LoopStage(LABEL, { returned: (nonce) => nonces.push(nonce) }).onQuery(query)
  return { verdict, failure: query.failure, nonces }
}

describe('the stage that recognizes our own questions', () => {
  const own = (nonce: string, label = LABEL, type = TXT) => question({ name: `${nonce}.${label}`, type })

  for (const nonce of [1, 0x7fff_ffff, 0xab]) {
    test(`knows the one with the nonce ${nonce}, as the prober writes it`, () => {
      const wire = loopQuestion(nonce, LABEL)
      wire.set([0x12, 0x34, 1, 0, 0, 1])
      assert.deepEqual(meet(wire), { verdict: Verdict.FAILED, failure: Failure.upstream_loop, nonces: [nonce] })
    })
  }

  test('knows it in any letter case, as it comes back from who randomizes that', () => {
    assert.deepEqual(meet(own('000000aB', LABEL.toUpperCase())).nonces, [0xab])
  })

  for (const [what, wire] of [
    ['with the label of another gateway', own('000000ab', loopLabel('fedcba9876543210'))],
    ['of another type', own('000000ab', LABEL, 1)],
    ['of another class', question({ name: `000000ab.${LABEL}`, type: TXT, class: 3 })],
    ['for a name below', own('x.000000ab')],
    ['for the name above', question({ name: LABEL, type: TXT })],
    ['with a shorter nonce', own('0000ab')],
    ['with another division into labels', own('0000.0ab')],
    ['for the root', question({ name: '', type: 2 })],
  ] as const) {
    test(`lets go on what is asked ${what}`, () => assert.deepEqual(meet(wire), { verdict: Verdict.NEXT, failure: null, nonces: [] }))
  }

  test('tells of no row for what is no number', () => {
    assert.deepEqual(meet(own('zzzzzzzz')).nonces, [0])
  })

  test('says nothing of the token by its label', () => {
    assert.match(LABEL, /^[0-9a-f]{32}$/)
    assert.ok(!LABEL.includes('0123456789abcdef'))
    assert.notEqual(loopLabel('a'), loopLabel('b'))
  })
})

interface Relay extends AsyncDisposable {
  readonly endpoint: Endpoint
  target: Endpoint
  /** Datagrams that came to be passed on. */
  readonly passed: number
}

/** A forwarder that thinks nothing: what comes is sent to `target`, and what comes from there is sent back. */
async function udpRelay(): Promise<Relay> {
  const front = createSocket('udp4')
  front.bind(0, '127.0.0.1')
  await once(front, 'listening')
  const backs = new Map<number, Socket>()
  const relay = {
    endpoint: { host: '127.0.0.1', port: front.address().port },
    target: { host: '127.0.0.1', port: 9 },
    passed: 0,
    async [Symbol.asyncDispose]() {
      for (const socket of [front, ...backs.values()]) socket.close()
    },
  }
  const backOf = (port: number): Socket => {
    const known = backs.get(port)
    if (known !== undefined) return known
    const back = createSocket('udp4', (message) => front.send(message, port, '127.0.0.1'))
    back.on('error', () => {})
    backs.set(port, back)
    return back
  }
  front.on('message', (message: Buffer, { port }: RemoteInfo) => {
    relay.passed++
    backOf(port).send(message, relay.target.port, relay.target.host)
  })
  return relay
}

/** As sent to the gateway over UDP, and how long that took. */
async function asked(gateway: TestGateway, message = ask()): Promise<{ message: Buffer; ms: number }> {
  const before = performance.now()
  const reaction = await CLIENTS[0]?.send(gateway, message)
  assert.ok(reaction?.kind === 'answer')
  return { message: reaction.message, ms: performance.now() - before }
}

function leadsBack({ log }: TestGateway): readonly string[] {
  return log.filter((line) => line.includes('leads back'))
}

const QUERY_MS = 1000
const timeouts: Config['timeouts'] = { ...testConfig([]).timeouts, queryMs: QUERY_MS }
/** What a slow machine needs besides. */
const SPARE_MS = 1500
/** Sends of one question to one server (RFC 9520 §3.1). */
const MAX_SENDS = 3
/** What the gateway sends to find out, up to now: some probes, each with a question that looks for the loop. */
const MAX_PROBES = 20

/** A gateway, and a relay that is its first upstream and sends everything back to it. */
async function openLoop(t: TestContext, rest: Partial<Config> = {}, ...others: readonly UpstreamConfig[]) {
  const relay = await udpRelay()
  relay.target = await free()
  const upstreams = [upstreamConfig(relay.endpoint, { name: 'relay' }), ...others]
  const gateway = await runGateway([], { ...listen({ dns: [at(relay.target)] }), upstreams, timeouts, ...rest })
  t.after(async () => {
    await gateway[Symbol.asyncDispose]()
    await relay[Symbol.asyncDispose]()
  })
  return { relay, gateway }
}

describe('a gateway whose upstream sends everything back to it', () => {
  test('answers in time, finds the loop, says so, and sends nothing there any more', async (t) => {
    const { relay, gateway } = await openLoop(t)
    const first = await asked(gateway)
    assert.equal(rcode(first.message), 2)
    assert.ok(first.ms < QUERY_MS + SPARE_MS, `${first.ms}`)
    const { ways } = await untilStatus(gateway, 'relay', ({ state }) => state === 'loop')
    assert.deepEqual(
      ways.map(({ state, reason }) => [state, reason]),
      [['loop', 'upstream_loop']],
    )
    assert.ok(relay.passed <= MAX_SENDS + MAX_PROBES, `${relay.passed}`)

    const before = relay.passed
    for (let i = 0; i < 50; i++) {
      const { message, ms } = await asked(gateway)
      assert.deepEqual([rcode(message), edeOf(message)], [2, OTHER])
      assert.ok(message.includes('the upstream server leads back here'))
      assert.ok(ms < QUERY_MS / 2, `${ms}`)
    }
    assert.ok(relay.passed - before <= MAX_PROBES, `${relay.passed - before}`)
    await until(() => leadsBack(gateway).length > 0)
    const lines = leadsBack(gateway)
    assert.deepEqual(
      lines.map((line) => JSON.parse(line) as Record<string, unknown>).map(({ level, upstream, reason }) => [level, upstream, reason]),
      [[40, 'relay', 'upstream_loop']],
    )
  })

  test('sends each of many questions a few times only, while it does not know yet', async (t) => {
    const { relay, gateway } = await openLoop(t)
    const questions = 200
    const all = await Promise.all(Array.from({ length: questions }, () => asked(gateway)))
    for (const { message, ms } of all) {
      assert.equal(rcode(message), 2)
      assert.ok(ms < QUERY_MS + SPARE_MS, `${ms}`)
    }
    await untilStatus(gateway, 'relay', ({ state }) => state === 'loop')
    assert.ok(relay.passed <= questions * MAX_SENDS + MAX_PROBES, `${relay.passed}`)
  })

  for (const strategy of ['ordered', 'round-robin', 'race'] as const) {
    test(`asks others instead: ${strategy}`, async (t) => {
      await using server = await udpServer(answering)
      const { relay, gateway } = await openLoop(t, { strategy }, upstreamConfig(server.endpoint, { name: 'other' }))
      await untilStatus(gateway, 'relay', ({ state }) => state === 'loop')
      const before = relay.passed
      for (let i = 0; i < 50; i++) {
        const { message, ms } = await asked(gateway)
        assert.equal(rcode(message), 0)
        assert.ok(ms < QUERY_MS / 2, `${ms}`)
      }
      assert.ok(relay.passed - before <= MAX_PROBES, `${relay.passed - before}`)
    })
  }

  test('takes another way to the same server, if one does not lead back', async (t) => {
    await using server = await udpServer(answering)
    const { relay, gateway } = await openLoop(t)
    const [back, through] = [relay, server].map(({ endpoint }) => ({ protocol: 'udp', path: '', ...endpoint }) as const)
    assert.ok(back !== undefined && through !== undefined)
    const outcome = await gateway.reload({ upstreams: [{ ...upstreamConfig(relay.endpoint, { name: 'both' }), urls: [back, through] }] })
    assert.equal(outcome.outcome, 'applied', JSON.stringify(outcome))
    assert.equal(rcode((await asked(gateway)).message), 0)
    const { state, ways } = await untilStatus(gateway, 'both', (now) => now.ways[0]?.state === 'loop')
    assert.deepEqual([state, ways[1]?.state], ['up', 'up'])
  })

  test('does not take a server for a loop that answers what it does not know', async () => {
    // NXDOMAIN for everything but what clients ask, and late enough to be suspected: to the second of its sends
    const isRepeated = ({ queries }: TestServer): boolean => queries.length > 1
    const slow: Handler = (query, reply) => {
      if (!query.includes('example')) reply(response(query, { flags: 0x8183 }))
      else if (isRepeated(server)) reply(response(query, { answers: [aRecord()] }))
    }
    await using server = await udpServer(slow)
    await using gateway = await runGateway([], { upstreams: [upstreamConfig(server.endpoint, { name: 'slow' })], timeouts })
    assert.equal(rcode((await asked(gateway)).message), 0)
    assert.equal((await upstreamStatus(gateway, 'slow')).state, 'up')
    assert.deepEqual(leadsBack(gateway), [])
  })
})

// a server that is known to be none is not looked at again for ten seconds: they wait for that together
describe('an upstream that comes to lead back', { concurrency: true }, () => {
  test('finds out when it leads elsewhere again, though it has known of the loop for a while', async (t) => {
    await using server = await udpServer(answering)
    const { relay, gateway } = await openLoop(t)
    await asked(gateway)
    await untilStatus(gateway, 'relay', ({ state }) => state === 'loop')
    relay.target = server.endpoint
    await untilStatus(gateway, 'relay', ({ state }) => state === 'up')
    const { message } = await asked(gateway)
    assert.equal(rcode(message), 0)
    await until(() => gateway.log.some((line) => line.includes('the upstream answers again')))
    // and the loop again, when it is back
    relay.target = gateway.dns
    while ((await upstreamStatus(gateway, 'relay')).state !== 'loop') await asked(gateway)
  })

  test('finds it out as well where it has become one, though others answer what comes back', async (t) => {
    await using server = await udpServer(answering)
    await using first = await udpServer(answering)
    const { relay, gateway } = await openLoop(t, {}, upstreamConfig(server.endpoint, { name: 'other' }))
    relay.target = first.endpoint
    await untilStatus(gateway, 'relay', ({ state }) => state === 'up')
    relay.target = gateway.dns
    // no later than ten seconds after it was found to be none
    while ((await upstreamStatus(gateway, 'relay')).state !== 'loop') await asked(gateway)
    assert.equal(rcode((await asked(gateway)).message), 0)
  })
})
