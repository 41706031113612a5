import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import test, { describe, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { pino } from 'pino'
import type { Route } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import { HealthRows } from '../../gateway/assembly/health-rows.ts'
import { Routing } from '../../gateway/assembly/routing.ts'
import { fingerprintOf, type RoutingPlan, routingPlan } from '../../gateway/assembly/routing-plan.ts'
import type { UpstreamTarget } from '../../gateway/assembly/upstreams.ts'
import type { Config } from '../../gateway/config/config.ts'
import { monotonicClock } from '../../net/clock.ts'
import { Wheel } from '../../net/wheel.ts'
import { HealthState } from '../../upstream/health-table.ts'
import { testConfig, upstreamConfig } from '../harness/gateway.ts'
import { aRecord, response, wireName } from '../harness/messages.ts'
import { type Handler, type TestServer, tcpServer, udpServer } from '../harness/servers.ts'
import { until } from '../harness/until.ts'
import { ask, upstreamDependencies } from '../harness/upstream.ts'

const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))
const silent: Handler = () => {}
const NONE: ReadonlySet<string> = new Set()
const config = testConfig([])
const rows = new HealthRows()

function targetTo({ endpoint }: Pick<TestServer, 'endpoint'>, name: string, protocol: 'udp' | 'tcp' = 'udp'): UpstreamTarget {
  return { server: upstreamConfig(endpoint, { name, protocol }), roots: null, identity: null }
}

function configWith(routes: Readonly<Record<string, readonly string[]>>): Config {
  return testConfig([], {
    routes: Object.entries(routes).map(([suffix, upstreams]) => ({ suffix: new Uint8Array(wireName(suffix)), upstreams })),
  })
}

const planFor = (config: Config, targets: readonly UpstreamTarget[], disabled: ReadonlySet<string>) =>
  routingPlan(config, { targets, disabled, before: null, addressesOf: () => [], rows })
const planOf = (...targets: readonly UpstreamTarget[]) => planFor(configWith({}), targets, NONE)

/** With a clock that stands still until it is put forward. */
function routingIn(t: TestContext) {
  const { flusher, meter } = upstreamDependencies()
  let now = monotonicClock()
  const clock = () => now
  const wheel = new Wheel(clock)
  const routing = new Routing({
    clock,
    wheel,
    flusher,
    log: pino({ level: 'silent' }),
    meter: () => meter,
    quic: () => null,
    health: rows.memory,
    loopLabel: '0'.repeat(32),
  })
  t.after(() => routing.close())
  const forward = (ms: number): void => {
    now += ms
    wheel.advance(now)
  }
  /** Resolves when it is known who of the plan answers. */
  const probed = async ({ targets }: RoutingPlan): Promise<void> => {
    const isKnown = (row: number) => rows.row(row).state !== HealthState.UNKNOWN
    while (!targets.every(({ ways }) => ways.every(({ row }) => isKnown(row)))) {
      forward(10)
      await turn()
    }
  }
  return { routing, forward, probed }
}

function routeOf(routing: Routing, name = 'www.example.com'): Route {
  return routing.table.find(wireName(name), 0)
}

async function seen({ queries }: TestServer, count = 1): Promise<void> {
  await until(() => queries.length >= count)
}

describe('routingPlan()', () => {
  const [a, b] = [1, 2].map((port) => targetTo({ endpoint: { host: '192.0.2.1', port } }, `u${port}`)) as [UpstreamTarget, UpstreamTarget]

  test('leaves out what is switched off, and keeps what it said', () => {
    const config = configWith({ 'corp.example': ['u2', 'u1'] })
    const [all, some] = [NONE, new Set(['u2'])].map((disabled) => planFor(config, [a, b], disabled))
    assert.deepEqual(all?.routes[0]?.group.upstreams, ['u2', 'u1'])
    assert.deepEqual(
      [some?.targets.map(({ server }) => server.name), some?.fallback.upstreams, some?.routes[0]?.group.upstreams],
      [['u1'], ['u1'], ['u1']],
    )
    assert.deepEqual([some?.fallback.space, some?.routes[0]?.group.space], [all?.fallback.space, all?.routes[0]?.group.space])
  })

  test('has one space for the same servers, however many names are sent there', () => {
    const { fallback, routes } = planFor(configWith({ a: ['u1'], b: ['u1'], c: ['u2'], d: ['u1', 'u2'] }), [a, b], NONE)
    assert.equal(routes[0]?.group, routes[1]?.group)
    const spaces = routes.map(({ group }) => group.space)
    assert.equal(new Set(spaces).size, 3)
    assert.equal(spaces[3], fallback.space)
  })

  test('has a fingerprint that tells which names are sent where', () => {
    const plans = [{}, { a: ['u1'] }, { b: ['u1'] }, { a: ['u2'] }, { a: ['u2'], b: ['u1'] }]
    const fingerprintsOf = (disabled: ReadonlySet<string>) =>
      plans.map((routes) => fingerprintOf(planFor(configWith(routes), [a, b], disabled)))
    assert.equal(new Set(fingerprintsOf(NONE)).size, plans.length)
    assert.deepEqual(fingerprintsOf(new Set(['u1'])), fingerprintsOf(NONE))
  })
})

describe('Routing', () => {
  test('asks the servers of the longest suffix, in their order, and nobody else', async (t) => {
    await using first = await udpServer(answering)
    await using second = await udpServer(answering)
    const { routing, probed } = routingIn(t)
    const targets = [targetTo(first, 'first'), targetTo(second, 'second')]
    const plan = planFor(configWith({ 'corp.example': ['second', 'first'], 'lab.corp.example': ['first'] }), targets, NONE)
    routing.reconfigure(structuredClone(plan), config)
    await probed(plan)
    for (const name of ['www.example', 'lab.corp.example']) assert.ok((await ask(routeOf(routing, name).upstream)).answer)
    assert.deepEqual([first.queries.length, second.queries.length], [2, 0])
    assert.ok((await ask(routeOf(routing, 'www.corp.example').upstream)).answer)
    assert.deepEqual([first.queries.length, second.queries.length], [2, 1])
  })

  test('has nobody to ask where all servers of a route are switched off', async (t) => {
    await using other = await udpServer(answering)
    const { routing } = routingIn(t)
    const targets = [targetTo(other, 'other'), targetTo({ endpoint: { host: '192.0.2.1', port: 53 } }, 'off')]
    routing.reconfigure(planFor(configWith({ 'corp.example': ['off'] }), targets, new Set(['off'])), config)
    assert.equal((await ask(routeOf(routing, 'corp.example').upstream)).failure, Failure.upstream_none)
    assert.equal(other.queries.length, 0)
  })

  test('shares a connection between all routes to a server', async (t) => {
    await using server = await tcpServer(answering)
    const { routing } = routingIn(t)
    routing.reconfigure(planFor(configWith({ a: ['u'], b: ['u'] }), [targetTo(server, 'u', 'tcp')], NONE), config)
    for (const name of ['a', 'b', 'c']) assert.ok((await ask(routeOf(routing, name).upstream)).answer)
    assert.deepEqual([server.queries.length, server.peers.size], [3, 1])
  })
})

describe('Routing, changed while queries are on their way', () => {
  test('has them answered by whom they were sent to', async (t) => {
    let release = () => {}
    await using server = await udpServer((query, reply) => (release = () => reply(response(query, { answers: [aRecord()] }))))
    const { routing, forward } = routingIn(t)
    routing.reconfigure(planOf(targetTo(server, 'u')), config)
    const outcome = ask(routeOf(routing).upstream, { budgetMs: 10_000 })
    await seen(server)
    routing.reconfigure(planOf(), config)
    assert.equal((await ask(routeOf(routing).upstream)).failure, Failure.upstream_none)
    // such a query has more time than those to come
    forward(config.timeouts.queryMs + 10)
    release()
    assert.ok((await outcome).answer)
  })

  test('lets them turn to a server that is gone and had nothing to do', async (t) => {
    await using late = await udpServer(silent)
    await using second = await udpServer(answering)
    const { routing, forward } = routingIn(t)
    routing.reconfigure(planOf(targetTo(late, 'late'), targetTo(second, 'second')), config)
    const outcome = ask(routeOf(routing).upstream)
    await seen(late)
    routing.reconfigure(planOf(), config)
    forward(1000)
    assert.ok((await outcome).answer)
  })

  test('keeps the connection of a server that stays, or is back soon', async (t) => {
    await using server = await tcpServer(answering)
    const { routing, forward } = routingIn(t)
    const target = targetTo(server, 'u', 'tcp')
    const elsewhere = { ...target, server: { ...target.server, origin: 'atlas.yaml:7:7' } }
    for (const plan of [planOf(target), planOf(elsewhere), planOf(), planOf(target)]) {
      routing.reconfigure(plan, config)
      if (plan.targets.length > 0) assert.ok((await ask(routeOf(routing).upstream)).answer)
    }
    // no longer about to go
    forward(config.timeouts.queryMs + 10)
    assert.ok((await ask(routeOf(routing).upstream)).answer)
    assert.deepEqual([server.queries.length, server.peers.size], [4, 1])
  })

  test('makes a new connection where one may take another time', async (t) => {
    await using server = await tcpServer(answering)
    const { routing } = routingIn(t)
    for (const handshakeMs of [1000, 2000]) {
      routing.reconfigure(planOf(targetTo(server, 'u', 'tcp')), testConfig([], { timeouts: { ...config.timeouts, handshakeMs } }))
      assert.ok((await ask(routeOf(routing).upstream)).answer)
    }
    assert.equal(server.peers.size, 2)
  })

  test('lets go of a server that is gone when no query can turn to it any more, however often things change', async (t) => {
    const closed: Promise<unknown>[] = []
    await using server = await tcpServer((query, reply, connection) => {
      closed.push(once(connection as Socket, 'close'))
      answering(query, reply, connection)
    })
    const { routing, forward } = routingIn(t)
    routing.reconfigure(planOf(targetTo(server, 'u', 'tcp')), config)
    await ask(routeOf(routing).upstream)
    for (let i = 0; i < 2; i++) {
      routing.reconfigure(planOf(), config)
      forward(config.timeouts.queryMs / 2 + 10)
    }
    await closed[0]
    routing.reconfigure(planOf(targetTo(server, 'u', 'tcp')), config)
    assert.ok((await ask(routeOf(routing).upstream)).answer)
  })

  for (const [what, forwardMs] of [
    ['are still known', 0],
    ['only finish what they have', config.timeouts.queryMs + 10],
  ] as const) {
    test(`ends with all servers, also those that are gone and ${what}`, async (t) => {
      const ended = Promise.withResolvers<void>()
      await using server = await tcpServer((_query, _reply, connection) => (connection as Socket).on('close', () => ended.resolve()))
      const { routing, forward } = routingIn(t)
      routing.reconfigure(planOf(targetTo(server, 'u', 'tcp')), config)
      const outcome = ask(routeOf(routing).upstream, { budgetMs: 30_000 })
      await seen(server)
      routing.reconfigure(planOf(), config)
      forward(forwardMs)
      await routing.close()
      await ended.promise
      forward(30_000)
      assert.equal((await outcome).answer, null)
    })
  }
})
