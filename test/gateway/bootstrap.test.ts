import assert from 'node:assert/strict'
import test, { describe, type TestContext } from 'node:test'
import { pino } from 'pino'
import { Bootstrap } from '../../gateway/assembly/bootstrap.ts'
import { type Resolved, resolveHost } from '../../gateway/assembly/resolve-host.ts'
import type { Config } from '../../gateway/config/config.ts'
import type { Endpoint } from '../../net/address.ts'
import { testConfig, upstreamConfig } from '../harness/gateway.ts'
import { at } from '../harness/reload.ts'
import { type Handler, type TestServer, udpServer } from '../harness/servers.ts'
import { until } from '../harness/until.ts'
import { answeringFrom, questionOf, type Zone } from '../harness/zone.ts'

const NAME = 'dns.lab.test'
const SERVFAIL = 2

/** A configuration with these host names, and these resolvers for them. */
function naming(hosts: readonly string[], bootstrap: readonly Endpoint[], rest: Partial<Config> = {}): Config {
  const upstreams = hosts.map((host, i) => upstreamConfig({ host, port: 53 }, { name: `u${i}` }))
  return testConfig([], { upstreams, bootstrap, ...rest })
}

interface Log {
  readonly level: number
  readonly msg: string
  readonly host: string
  readonly reason?: string
  readonly addresses?: readonly string[]
}

const [INFO, WARN] = [30, 40]

/** One that looks up by a real resolver, but at times that the test gives: `look` is the next time that it would look something up. */
function bootstrapIn(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const lines: Log[] = []
  const outcomes: (Resolved | Error)[] = []
  let [begun, moves] = [0, 0]
  const resolve: typeof resolveHost = async (...question) => {
    begun++
    try {
      const found = await resolveHost(...question)
      outcomes.push(found)
      return found
    } catch (error) {
      outcomes.push(error as Error)
      throw error
    }
  }
  const log = pino({ level: 'debug', base: null }, { write: (line: string) => void lines.push(JSON.parse(line)) })
  const bootstrap = new Bootstrap({ log, resolve })
  bootstrap.onMoved = () => moves++
  t.after(() => bootstrap.stop())
  return {
    bootstrap,
    lines,
    get begun() {
      return begun
    },
    get moves() {
      return moves
    },
    /** Puts the clock forward; resolves when what is begun by that is over. */
    async forward(ms: number): Promise<void> {
      t.mock.timers.tick(ms)
      await until(() => outcomes.length === begun)
      // what is made of the outcome comes after it
      for (let i = 0; i < 3; i++) await new Promise((done) => setImmediate(done))
    },
  }
}

/** A resolver of `zone`, which may change. */
const zoneServer = (zone: Zone, handler: Handler = answeringFrom(zone)): Promise<TestServer> => udpServer(handler)

describe('the host of an upstream', () => {
  test('is looked up at start, and only that: all its addresses, IPv4 first', async (t) => {
    await using server = await zoneServer(new Map([[NAME, { addresses: ['2001:db8::1', '192.0.2.1', '2001:db8::2', '192.0.2.2'] }]]))
    const stand = bootstrapIn(t)
    const { bootstrap, lines } = stand
    assert.deepEqual(bootstrap.addressesOf(NAME), [])
    await bootstrap.follow(naming([NAME, '192.0.2.9', '2001:db8::9'], [server.endpoint]))
    assert.deepEqual(bootstrap.addressesOf(NAME), ['192.0.2.1', '192.0.2.2', '2001:db8::1', '2001:db8::2'])
    assert.deepEqual(server.queries.map(questionOf), [
      { name: NAME, type: 1 },
      { name: NAME, type: 28 },
    ])
    assert.deepEqual([bootstrap.addressesOf('192.0.2.9'), lines, stand.begun, stand.moves], [[], [], 1, 0])
  })

  test('is looked up once, however many URLs have it', async (t) => {
    await using server = await zoneServer(new Map([[NAME, { addresses: ['192.0.2.1'] }]]))
    const { bootstrap } = bootstrapIn(t)
    await bootstrap.follow(naming([NAME, NAME], [server.endpoint]))
    assert.equal(server.queries.length, 2)
  })

  for (const [family, address] of [
    ['A', '192.0.2.1'],
    ['AAAA', '2001:db8::1'],
  ] as const) {
    test(`may have addresses of one family only: ${family}`, async (t) => {
      await using server = await zoneServer(new Map([[NAME, { addresses: [address] }]]))
      const { bootstrap } = bootstrapIn(t)
      await bootstrap.follow(naming([NAME], [server.endpoint]))
      assert.deepEqual(bootstrap.addressesOf(NAME), [address])
    })
  }

  test('may be an alias of an alias', async (t) => {
    await using server = await zoneServer(
      new Map([[NAME, { aliases: ['edge.lab.test', 'pop.lab.test'], addresses: ['192.0.2.1', '2001:db8::1'] }]]),
    )
    const { bootstrap } = bootstrapIn(t)
    await bootstrap.follow(naming([NAME], [server.endpoint]))
    assert.deepEqual(bootstrap.addressesOf(NAME), ['192.0.2.1', '2001:db8::1'])
  })

  test('has eight addresses at most, of both families, and keeps those while they hold', async (t) => {
    const four = Array.from({ length: 20 }, (_, i) => `192.0.2.${i + 1}`)
    const six = Array.from({ length: 20 }, (_, i) => `2001:db8::${i + 1}`)
    const zone: Zone = new Map([[NAME, { addresses: four }]])
    await using server = await zoneServer(zone)
    const stand = bootstrapIn(t)
    const { bootstrap } = stand
    await bootstrap.follow(naming([NAME], [server.endpoint]))
    assert.deepEqual(bootstrap.addressesOf(NAME), four.slice(0, 8))
    // as resolvers turn what they have
    zone.set(NAME, { addresses: four.toReversed() })
    await stand.forward(300_000)
    assert.deepEqual([bootstrap.addressesOf(NAME), stand.moves], [four.slice(0, 8), 0])
    zone.set(NAME, { addresses: [...four.slice(0, 4), ...four.slice(8), ...six] })
    await stand.forward(300_000)
    assert.deepEqual([bootstrap.addressesOf(NAME), stand.moves], [[...four.slice(0, 4), ...six.slice(0, 4)], 1])
    zone.set(NAME, { addresses: [...six, '192.0.2.1'] })
    await stand.forward(300_000)
    assert.deepEqual([bootstrap.addressesOf(NAME), stand.moves], [['192.0.2.1', ...six.slice(0, 7)], 2])
  })

  test('is never every address of ourselves, as block lists say, and an address only once', async (t) => {
    const zone: Zone = new Map([
      ['blocked.test', { addresses: ['0.0.0.0', '::'] }],
      [NAME, { addresses: ['0.0.0.0', '192.0.2.1', '192.0.2.1', '::ffff:192.0.2.1'] }],
    ])
    await using server = await zoneServer(zone)
    const { bootstrap, lines } = bootstrapIn(t)
    await bootstrap.follow(naming([NAME, 'blocked.test'], [server.endpoint]))
    assert.deepEqual([bootstrap.addressesOf(NAME), bootstrap.addressesOf('blocked.test')], [['192.0.2.1'], []])
    assert.deepEqual(
      lines.map(({ host, reason }) => [host, reason]),
      [['blocked.test', 'the name has no address that can be used']],
    )
  })

  test('localhost is this machine, without a question', async (t) => {
    await using server = await zoneServer(new Map([['localhost', { addresses: ['192.0.2.1'] }]]))
    const { bootstrap } = bootstrapIn(t)
    await bootstrap.follow(naming(['localhost', 'dns.localhost'], [server.endpoint]))
    for (const name of ['localhost', 'dns.localhost']) assert.deepEqual(bootstrap.addressesOf(name), ['127.0.0.1', '::1'])
    assert.equal(server.queries.length, 0)
  })
})

describe('the addresses of a host', () => {
  for (const [what, ttl, ms] of [
    ['its TTL', 120, 120_000],
    ['half a minute, if its TTL is shorter', 1, 30_000],
    ['half a minute, if its TTL is 0', 0, 30_000],
    ['an hour, if its TTL is longer', 86_400, 3_600_000],
  ] as const) {
    test(`are looked up again after ${what}`, async (t) => {
      await using server = await zoneServer(new Map([[NAME, { addresses: ['192.0.2.1', '2001:db8::1'], ttl }]]))
      const stand = bootstrapIn(t)
      await stand.bootstrap.follow(naming([NAME], [server.endpoint]))
      for (let looks = 1; looks < 3; looks++) {
        await stand.forward(ms - 1)
        assert.equal(stand.begun, looks)
        await stand.forward(1)
        assert.equal(stand.begun, looks + 1)
      }
      assert.deepEqual([stand.moves, stand.lines], [0, []])
    })
  }

  test('hold for the shortest of the TTLs, also that of an alias', async (t) => {
    await using server = await zoneServer(
      new Map([[NAME, { addresses: ['192.0.2.1'], ttl: 3000, aliases: ['pop.lab.test'], aliasTtl: 60 }]]),
    )
    const stand = bootstrapIn(t)
    await stand.bootstrap.follow(naming([NAME], [server.endpoint]))
    await stand.forward(59_999)
    assert.equal(stand.begun, 1)
    await stand.forward(1)
    assert.equal(stand.begun, 2)
  })

  test('may be others then: that is told, and stands in the log', async (t) => {
    const zone: Zone = new Map([[NAME, { addresses: ['192.0.2.1'], ttl: 60 }]])
    await using server = await zoneServer(zone)
    const stand = bootstrapIn(t)
    await stand.bootstrap.follow(naming([NAME], [server.endpoint]))
    zone.set(NAME, { addresses: ['192.0.2.2', '2001:db8::2'], ttl: 60 })
    await stand.forward(60_000)
    assert.deepEqual([stand.bootstrap.addressesOf(NAME), stand.moves], [['192.0.2.2', '2001:db8::2'], 1])
    assert.deepEqual(
      stand.lines.map(({ level, msg, host, addresses }) => [level, msg, host, addresses]),
      [[INFO, 'the host of an upstream has other addresses', NAME, ['192.0.2.2', '2001:db8::2']]],
    )
  })

  test('stay when they cannot be looked up; it is tried again ever less often, with one warning, and a line when that is over', async (t) => {
    const zone: Zone = new Map([[NAME, { addresses: ['192.0.2.1'], ttl: 60 }]])
    await using server = await zoneServer(zone)
    const stand = bootstrapIn(t)
    await stand.bootstrap.follow(naming([NAME], [server.endpoint]))
    zone.set(NAME, SERVFAIL)
    await stand.forward(60_000)
    let looks = 2
    for (const pause of [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]) {
      await stand.forward(pause - 1)
      assert.equal(stand.begun, looks, `${pause}`)
      await stand.forward(1)
      assert.equal(stand.begun, ++looks, `${pause}`)
    }
    assert.deepEqual([stand.bootstrap.addressesOf(NAME), stand.moves], [['192.0.2.1'], 0])
    assert.deepEqual(
      stand.lines.map(({ level, msg, host }) => [level, msg, host]),
      [[WARN, 'the host of an upstream is not found: what was known of it stays', NAME]],
    )
    zone.set(NAME, { addresses: ['192.0.2.1'], ttl: 60 })
    await stand.forward(30_000)
    assert.deepEqual([stand.lines.at(-1)?.level, stand.lines.at(-1)?.msg], [INFO, 'the host of an upstream is found again'])
    // by its TTL again, and the next failure is told again
    zone.set(NAME, SERVFAIL)
    await stand.forward(60_000)
    assert.deepEqual([stand.lines.length, stand.lines.at(-1)?.level], [3, WARN])
    assert.equal(stand.moves, 0)
  })

  test('are told when they are found late', async (t) => {
    const zone: Zone = new Map()
    await using server = await zoneServer(zone)
    const stand = bootstrapIn(t)
    await stand.bootstrap.follow(naming([NAME], [server.endpoint]))
    assert.deepEqual([stand.bootstrap.addressesOf(NAME), stand.moves, stand.lines.length], [[], 0, 1])
    assert.match(stand.lines[0]?.reason ?? '', /ENOTFOUND/)
    zone.set(NAME, { addresses: ['192.0.2.1'] })
    await stand.forward(1000)
    assert.deepEqual([stand.bootstrap.addressesOf(NAME), stand.moves], [['192.0.2.1'], 1])
  })
})

describe('a change of the configuration', () => {
  test('forgets names that it has no more, and keeps the others without asking again', async (t) => {
    const zone: Zone = new Map(['a.test', 'b.test', 'c.test'].map((name, i) => [name, { addresses: [`192.0.2.${i}`], ttl: 60 }] as const))
    await using server = await zoneServer(zone)
    const stand = bootstrapIn(t)
    const { bootstrap } = stand
    await bootstrap.follow(naming(['a.test', 'b.test'], [server.endpoint]))
    await bootstrap.follow(naming(['b.test', 'c.test'], [server.endpoint]))
    assert.deepEqual(
      ['a.test', 'b.test', 'c.test'].map((name) => bootstrap.addressesOf(name).length),
      [0, 1, 1],
    )
    assert.equal(stand.begun, 3)
    await stand.forward(60_000)
    assert.equal(stand.begun, 5)
    await bootstrap.follow(testConfig([]))
    await stand.forward(3_600_000)
    assert.equal(stand.begun, 5)
  })

  test('asks other resolvers at once for what was not found', async (t) => {
    await using empty = await zoneServer(new Map())
    await using server = await zoneServer(new Map([[NAME, { addresses: ['192.0.2.1'], ttl: 60 }]]))
    const stand = bootstrapIn(t)
    await stand.bootstrap.follow(naming([NAME], [empty.endpoint]))
    await stand.bootstrap.follow(naming([NAME], [server.endpoint]))
    assert.deepEqual(stand.bootstrap.addressesOf(NAME), ['192.0.2.1'])
    // and not as well by what was to come before
    await stand.forward(30_000)
    assert.equal(stand.begun, 2)
  })

  test('is not disturbed by an answer for a name that went and came back meanwhile', async (t) => {
    const held: (() => void)[] = []
    const zone: Zone = new Map([[NAME, { addresses: ['192.0.2.1'], ttl: 60 }]])
    let isHolding = false
    const answer = answeringFrom(zone)
    await using server = await zoneServer(zone, (query, reply, connection) => {
      if (isHolding) held.push(() => answer(query, reply, connection))
      else answer(query, reply, connection)
    })
    const stand = bootstrapIn(t)
    const config = naming([NAME], [server.endpoint])
    await stand.bootstrap.follow(config)
    isHolding = true
    const late = stand.forward(60_000)
    await until(() => held.length === 2)
    await stand.bootstrap.follow(testConfig([]))
    isHolding = false
    await stand.bootstrap.follow(config)
    for (const release of held) release()
    await late
    assert.equal(stand.begun, 3)
    // looked up once a minute, not twice
    await stand.forward(60_000)
    assert.equal(stand.begun, 4)
  })

  test('and an end: nothing is looked up after that', async (t) => {
    await using server = await zoneServer(new Map([[NAME, { addresses: ['192.0.2.1'], ttl: 60 }]]))
    const stand = bootstrapIn(t)
    await stand.bootstrap.follow(naming([NAME], [server.endpoint]))
    stand.bootstrap.stop()
    await stand.forward(3_600_000)
    assert.deepEqual([stand.begun, stand.bootstrap.addressesOf(NAME)], [1, []])
  })
})

describe('the resolvers of host names', () => {
  test('are asked one after the other, when one does not answer', async (t) => {
    await using silent = await zoneServer(new Map([[NAME, null]]))
    await using server = await zoneServer(new Map([[NAME, { addresses: ['192.0.2.1'] }]]))
    const { bootstrap } = bootstrapIn(t)
    await bootstrap.follow(naming([NAME], [silent.endpoint, server.endpoint]))
    assert.deepEqual(bootstrap.addressesOf(NAME), ['192.0.2.1'])
    assert.ok(silent.queries.length > 0)
  })

  test('are never one of our own listeners', async (t) => {
    await using own = await zoneServer(new Map([[NAME, { addresses: ['192.0.2.9'] }]]))
    await using server = await zoneServer(new Map([[NAME, { addresses: ['192.0.2.1'] }]]))
    const { bootstrap, lines } = bootstrapIn(t)
    const { listen } = testConfig([])
    const rest = { listen: { ...listen, dns: [at(own.endpoint)] } }
    await bootstrap.follow(naming([NAME], [own.endpoint, server.endpoint], rest))
    assert.deepEqual([bootstrap.addressesOf(NAME), own.queries.length], [['192.0.2.1'], 0])
    await bootstrap.follow(naming(['other.test'], [own.endpoint], rest))
    assert.deepEqual([lines.at(-1)?.host, lines.at(-1)?.reason, own.queries.length], ['other.test', 'no resolver is known', 0])
  })

  test('are not waited for without end', async (t) => {
    await using silent = await zoneServer(new Map([[NAME, null]]))
    const { bootstrap, lines } = bootstrapIn(t)
    const before = performance.now()
    await bootstrap.follow(naming([NAME], [silent.endpoint]))
    assert.ok(performance.now() - before < 5000)
    assert.deepEqual([lines.length, lines[0]?.reason], [1, 'no resolver has answered in time'])
  })
})
