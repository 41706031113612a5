import assert from 'node:assert/strict'
import { join } from 'node:path'
import test, { describe } from 'node:test'
import { IPV6_FAMILY, Subnet } from '../../dns/client-subnet.ts'
import { Failure } from '../../dns/failure.ts'
import { Audience } from '../../gateway/cache/audience.ts'
import { CacheInspector } from '../../gateway/cache/inspect.ts'
import { writeSnapshot } from '../../gateway/cache/snapshot.ts'
import { NO_CACHE_METER, testMemory } from '../harness/cache.ts'
import { bytesOf, factsOf, keyOf, memoryOf, tableOf, wireOf } from '../harness/cache-entries.ts'
import { addressIn, answer, ask, asked, known, labOf, NAME, opt, option } from '../harness/client-subnet.ts'
import { HandClock, type Lab } from '../harness/lab.ts'
import { hex, record, wireName } from '../harness/messages.ts'
import { openCacheMemory } from '../harness/snapshot.ts'
import { temporaryDirectory } from '../harness/temporary.ts'

describe('an answer for a network (RFC 7871 §7.3.1)', () => {
  test('with SCOPE up to SOURCE is for all addresses in SCOPE bits', () => {
    const lab = labOf('forward')
    ask(lab, '192.0.2.0/24')
    answer(lab, '10.0.0.1', { prefix: '192.0.2.0/24', scope: 20 })
    assert.equal(known(lab, '192.0.2.0/24'), '10.0.0.1')
    assert.equal(known(lab, '192.0.15.0/24'), '10.0.0.1')
    assert.equal(known(lab, '192.0.0.0/20'), '10.0.0.1')
    assert.equal(known(lab, '192.0.16.0/24'), null)
    assert.equal(known(lab, '192.0.0.0/19'), null, 'a network that is larger')
    assert.equal(known(lab, null), null)
    assert.equal(known(lab, '0.0.0.0/0'), null)
    assert.equal(known(lab, '2a00:200::/24'), null)
  })

  test('with SCOPE above the longest SOURCE is for that', () => {
    const lab = labOf('forward')
    ask(lab, '192.0.2.77/32')
    answer(lab, '10.0.0.1', { prefix: '192.0.2.0/24', scope: 32 })
    assert.equal(known(lab, '192.0.2.0/24'), '10.0.0.1')
    assert.equal(known(lab, '192.0.2.128/25'), '10.0.0.1', 'cut to the same')
    assert.equal(known(lab, '192.0.3.0/24'), null)
  })

  test('with SCOPE above a shorter SOURCE is for exactly that SOURCE', () => {
    const lab = labOf('forward')
    ask(lab, '203.6.0.0/16')
    answer(lab, '10.0.0.1', { prefix: '203.6.0.0/16', scope: 24 })
    assert.equal(known(lab, '203.6.0.0/16'), '10.0.0.1')
    assert.equal(known(lab, '203.6.0.0/24'), null)
    assert.equal(known(lab, '203.6.0.0/17'), null)
    assert.equal(known(lab, '203.6.0.0/15'), null)
  })

  test('with SCOPE 0, or without the option, is for everybody', () => {
    for (const with0 of [{ prefix: '192.0.2.0/24' }, {}]) {
      const lab = labOf('forward')
      ask(lab, '192.0.2.0/24')
      answer(lab, '10.0.0.1', with0)
      for (const prefix of ['192.0.2.0/24', '198.51.100.0/24', '2a00::/56', '0.0.0.0/0', '::/0', null]) {
        assert.equal(known(lab, prefix), '10.0.0.1', String(prefix))
      }
    }
  })

  test('that was asked without an address, or without the option, is for those who ask so', () => {
    const lab = labOf('forward')
    ask(lab, '0.0.0.0/0')
    answer(lab, '10.0.0.1', { prefix: '0.0.0.0/0' })
    assert.equal(known(lab, '::/0'), '10.0.0.1')
    for (const prefix of [null, '192.0.2.0/24']) assert.equal(known(lab, prefix), null, String(prefix))
    ask(lab, null)
    answer(lab, '10.0.0.2')
    assert.equal(known(lab, null), '10.0.0.2')
    assert.equal(known(lab, '192.0.2.0/24'), null)
    assert.equal(known(lab, '0.0.0.0/0'), '10.0.0.1')
  })

  test('is found by the longest prefix (§7.3.2), also of 56 bits', () => {
    const lab = labOf('forward')
    // none is in a network that is known by then
    const learned = [
      ['2a00:1234:5678::/56', 56],
      ['2a00:1234:5678:100::/56', 33],
      ['2a00:1234:d678::/56', 32],
      ['2a00:1239::/56', 12],
      ['2b00::/56', 0],
    ] as const
    for (const [prefix, scope] of learned) {
      ask(lab, prefix)
      answer(lab, `10.0.0.${scope}`, { prefix, scope })
    }
    for (const [prefix, scope] of learned) assert.equal(known(lab, prefix), `10.0.0.${scope}`)
    assert.equal(known(lab, '2a00:1234:5678::/56'), '10.0.0.56')
    assert.equal(known(lab, '2a00:1234:5678:7700::/56'), '10.0.0.33')
    assert.equal(known(lab, '2a00:1234:e678::/56'), '10.0.0.32')
    assert.equal(known(lab, '2a0f:1::/56'), '10.0.0.12')
    assert.equal(known(lab, '2a10::/56'), '10.0.0.0')
  })

  test('is a denial, for the network', () => {
    const lab = labOf('forward')
    const soa = record({ owner: wireName('example'), type: 6, rdata: Buffer.concat([hex('0000'), Buffer.alloc(20, 1)]), ttl: 60 })
    ask(lab, '192.0.2.0/24')
    lab.answer({ flags: 0x8183, authorities: [soa], additionals: [opt(option('192.0.2.0/24', 24))] })
    assert.equal(lab.ask({ name: NAME, type: 28, opt: option('192.0.2.0/24') }).rcode, 3)
    assert.equal(known(lab, '192.0.3.0/24'), null)
  })

  test('is used after its end in its network alone', () => {
    const lab = labOf('forward')
    ask(lab, '192.0.2.0/24')
    answer(lab, '10.0.0.1', { prefix: '192.0.2.0/24', scope: 24, ttl: 10 })
    lab.clock.advance(11_000)
    const [own, other] = [ask(lab, '192.0.2.0/24'), ask(lab, '192.0.3.0/24')]
    for (let i = 0; i < 2; i++) lab.fail(Failure.upstream_network)
    assert.deepEqual([own.ede, addressIn(own)], [3, '10.0.0.1'])
    assert.deepEqual([other.rcode, other.ede], [2, 23])
    assert.equal(ask(lab, '192.0.2.0/24').ede, 3, 'remembered')
    assert.equal(ask(lab, '192.0.3.0/24').ede, 13)
    assert.equal(known(lab, '192.0.4.0/24'), null, 'the failure is of the network that was asked for')
  })

  test('is asked for again ahead of its end for that network, and not for two at once', () => {
    const lab = labOf('forward')
    ask(lab, '192.0.2.0/24')
    answer(lab, '10.0.0.1', { prefix: '192.0.2.0/24', scope: 16, ttl: 10 })
    for (let i = 0; i < 3; i++) ask(lab, '192.0.3.0/24')
    lab.clock.advance(9500)
    ask(lab, '192.0.4.0/24')
    ask(lab, '192.0.5.0/24')
    lab.clock.advance(20)
    assert.deepEqual(asked(lab), ['1:c0000400/24'])
    answer(lab, '10.0.0.2', { prefix: '192.0.4.0/24', scope: 16 })
    assert.equal(known(lab, '192.0.6.0/24'), '10.0.0.2')
    assert.ok(lab.isIdle)
  })

  test('is not for other threads and other networks, but for the same', () => {
    const clock = new HandClock()
    const memory = testMemory()
    const [a, b] = [1, 2].map((owner) => labOf('forward', { clock, memory, owner })) as [Lab, Lab]
    ask(a, '192.0.2.0/24')
    const [same, other] = [ask(b, '192.0.2.0/24'), ask(b, '192.0.3.0/24')]
    assert.deepEqual([a.sent, b.sent], [1, 1])
    answer(a, '10.0.0.1', { prefix: '192.0.2.0/24', scope: 24 })
    clock.advance(20)
    assert.equal(addressIn(same), '10.0.0.1')
    assert.equal(other.message, null)
  })
})

describe('a question for a network', () => {
  test('travels once for all who ask it from there', () => {
    const lab = labOf('forward')
    const replies = ['192.0.2.0/24', '192.0.2.64/26', '192.0.3.0/24', '192.0.2.9/32'].map((prefix) => ask(lab, prefix))
    assert.deepEqual(asked(lab), ['1:c0000200/24', '1:c0000300/24'])
    answer(lab, '10.0.0.1', { prefix: '192.0.2.0/24', scope: 24 })
    answer(lab, '10.0.0.2', { prefix: '192.0.3.0/24', scope: 24 })
    assert.deepEqual(replies.map(addressIn), ['10.0.0.1', '10.0.0.1', '10.0.0.2', '10.0.0.1'])
  })

  test('is asked without an address where it is on its way for sixteen (RFC 7871 §11.2)', () => {
    let withheld = 0
    const lab = labOf('forward', { meter: { ...NO_CACHE_METER, withheld: () => withheld++ } })
    const replies = Array.from({ length: 40 }, (_, i) => ask(lab, `203.7.${i}.0/24`))
    assert.deepEqual([lab.sent, asked(lab).at(-1), withheld], [17, '1:0/0', 24])
    const joining = ask(lab, '203.7.3.0/24')
    lab.ask({ name: 'other.example', opt: option('203.7.99.0/24') })
    assert.deepEqual(
      [lab.sent, asked(lab).at(-1)],
      [18, '1:cb076300/24'],
      'those on their way take more along; another name is another matter',
    )
    for (let i = 0; i < 16; i++) answer(lab, '10.0.0.1', { prefix: `203.7.${i}.0/24`, scope: 24 })
    answer(lab, '10.0.0.2')
    assert.deepEqual(replies.map(addressIn), [...Array(16).fill('10.0.0.1'), ...Array(24).fill('10.0.0.2')])
    assert.equal(addressIn(joining), '10.0.0.1')
    // who was put off says so: its own clients' networks are not to get it
    assert.ok(replies[20]?.wire.includes(hex(option('203.7.20.0/24', 24))))
    ask(lab, '203.7.20.0/24')
    assert.deepEqual(asked(lab).at(-1), '1:cb071400/24', 'there is room again')
    for (let i = 0; i < 2; i++) answer(lab, '10.0.0.3')
    assert.ok(lab.isIdle)
  })

  test('is put off to an answer without an address that is known', () => {
    const lab = labOf('forward')
    ask(lab, '0.0.0.0/0')
    answer(lab, '10.0.0.2')
    for (let i = 0; i < 16; i++) ask(lab, `203.7.${i}.0/24`)
    assert.equal(known(lab, '203.7.16.0/24'), '10.0.0.2')
  })

  test('has the number of another network by chance: each is asked', () => {
    const lab = labOf('forward', { bytes: 0 })
    lab.cache.idOf = () => 7
    const replies = [ask(lab, '192.0.2.0/24'), ask(lab, '203.7.3.0/24')]
    answer(lab, '10.0.0.1')
    answer(lab, '10.0.0.2')
    assert.deepEqual(replies.map(addressIn), ['10.0.0.1', '10.0.0.2'])
  })

  test('is counted when it fails, too', () => {
    const lab = labOf('forward')
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 16; i++) ask(lab, `203.7.${16 * round + i}.0/24`)
      for (let i = 0; i < 16; i++) lab.fail(Failure.upstream_timeout)
    }
    assert.deepEqual([lab.sent, lab.isIdle], [48, true])
  })
})

test('a network is found by all of its bits, also where its place in the table is that of another', () => {
  const table = tableOf(memoryOf(1))
  const key = keyOf(NAME)
  const ofNetwork = (high: number, low = 0) => {
    key.ofAudience(Audience.IPV6, 56, new Subnet(IPV6_FAMILY, 56, high, low))
    key.ofType(1, 1)
    return key
  }
  table.store(ofNetwork(0x2a00_0000), factsOf(key, 1), 0)
  const places = new Set<string>()
  for (let i = 1; i < 50_000; i++) {
    assert.equal(table.find(ofNetwork(0x2a00_0000 + (i & 0xffff))), false, `${i}`)
    places.add(`${key.slot} ${key.tag}`)
    assert.equal(table.find(ofNetwork(0x2a00_0000, i << 8)), false, `${i}`)
  }
  ofNetwork(0x2a00_0000)
  assert.ok(table.find(key) && places.has(`${key.slot} ${key.tag}`))
})

test('answers for networks outlive a restart', async (t) => {
  const path = join(temporaryDirectory(t), 'snapshot.bin')
  const at = { fingerprint: 1, now: 1_000_000, wallClock: 0 }
  const memory = memoryOf(4)
  const before = labOf('forward', { memory })
  for (const [prefix, scope] of [
    ['192.0.2.0/24', 20],
    ['2a00:1:2::/56', 56],
  ] as const) {
    ask(before, prefix)
    answer(before, '10.0.0.1', { prefix, scope })
  }
  await writeSnapshot(path, { memory, table: tableOf(memory), ...at })
  const opened = openCacheMemory(path, { bytes: bytesOf(4), ...at })
  assert.equal(opened.restored?.entries, 2)
  const after = labOf('forward', { memory: opened.memory })
  assert.equal(known(after, '192.0.2.0/24'), '10.0.0.1')
  assert.equal(known(after, '2a00:1:2:a0::/60'), '10.0.0.1')
  assert.equal(known(after, '2a00:1:3::/56'), null)
})

test('the operator sees for whom an answer is, and throws all of them out', async () => {
  const memory = memoryOf(4)
  const lab = labOf('forward', { memory })
  for (const [prefix, scope] of [
    [null, 0],
    ['::/0', 0],
    ['192.0.2.0/24', 24],
    ['203.7.0.0/16', 20],
    ['2a00:1:2::/56', 48],
    ['198.51.100.0/24', 0],
  ] as const) {
    ask(lab, prefix)
    answer(lab, '10.0.0.1', prefix === null ? {} : { prefix, scope })
  }
  const inspector = new CacheInspector(memory, 9)
  const networks = inspector.lookUp(wireOf(NAME), lab.clock.now).answers.map(({ network }) => network)
  assert.deepEqual(networks.toSorted(), ['203.7.0.0/16 exactly', '192.0.2.0/24', '2a00:1:2::/48', 'any', 'none', null].toSorted())
  assert.equal((await inspector.purgeName(wireOf(NAME))).entries, 6)
  assert.equal(known(lab, '192.0.2.0/24'), null)
})
