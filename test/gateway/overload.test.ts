import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import type { Holder } from '../../dns/contracts.ts'
import { type Burden, OverloadWatch } from '../../gateway/overload.ts'
import { parseAddress } from '../../net/address.ts'
import { client } from '../harness/messages.ts'

/** A tenth of it is two connections. */
const MEMORY = 1_000_000
const FINE = { rss: MEMORY / 2, delayMs: 1 }
const FULL = { rss: MEMORY + 1, delayMs: 1 }
const LATE = { rss: MEMORY / 2, delayMs: 1001 }

/** A thread with connections that can be counted, and its watch. */
function stand(threads = 1) {
  const burdens: (Burden & { workload: { asked: number }; held: number; isClosed: boolean })[] = []
  const seen: string[] = []
  const log = {
    warn: (_facts: unknown, message: string) => void seen.push(message),
    info: (_facts: unknown, message: string) => void seen.push(message),
  }
  const governor = { isOverloaded: false }
  const watch = new OverloadWatch(
    { memory: MEMORY, threads, exempt: { has: (address) => address[15] === 99 } },
    {
      governor,
      connections: () => burdens.filter(({ isClosed }) => !isClosed),
      held: () => burdens.reduce((sum, { held, isClosed }) => sum + (isClosed ? 0 : held), 0),
      dropped: (of, failure) => void seen.push(`${of.holder?.name ?? of.address} ${failure.code}`),
      log: log as never,
    },
  )
  const connect = (address: string, facts: { held?: number; questions?: number; holder?: Holder } = {}) => {
    const { held = 0, questions = 0, holder = null } = facts
    const octets = parseAddress(address) ?? assert.fail(address)
    const burden = {
      client: client('dot', { address, octets, holder }),
      workload: { questions, asked: 0 },
      held,
      isClosed: false,
      close() {
        burden.isClosed = true
      },
    }
    burdens.push(burden)
    return burden
  }
  const several = (count: number, ...of: Parameters<typeof connect>) => Array.from({ length: count }, () => connect(...of))
  return { watch, governor, seen, connect, several }
}

describe('when memory is short', () => {
  test('nobody new is let in until a tenth of the bound is free again', () => {
    const { watch, governor, seen, several } = stand()
    several(2, '192.0.2.1')
    const states = [FINE, FULL, { rss: MEMORY - 1, delayMs: 1 }, { rss: 0.91 * MEMORY, delayMs: 1 }, { rss: 0.9 * MEMORY, delayMs: 1 }].map(
      (vitals) => {
        watch.look(vitals)
        return governor.isOverloaded
      },
    )
    assert.deepEqual(states, [false, true, true, true, false])
    assert.deepEqual(seen, [
      'memory is short: no connection is let in, and the heaviest clients go',
      'there is room again: connections are let in',
    ])
  })

  test('the heaviest client goes with all it has, then the next, each counted', () => {
    const { watch, seen, connect, several } = stand()
    const heavy = several(10, '192.0.2.1', { held: 200_000 })
    const next = several(30, '2001:db8::1')
    const others = Array.from({ length: 8 }, (_, i) => connect(`198.51.100.${i}`))
    watch.look(FULL)
    assert.deepEqual(
      [heavy, next, others].map((all) => all.filter(({ isClosed }) => isClosed).length),
      [10, 0, 0],
    )
    watch.look(FULL)
    assert.deepEqual(
      [next, others].map((all) => all.filter(({ isClosed }) => isClosed).length),
      [30, 0],
    )
    watch.look(FULL)
    assert.ok(
      others.every(({ isClosed }) => !isClosed),
      'they are all alike',
    )
    assert.equal(seen.filter((each) => each === '192.0.2.1 overload_shed').length, 10)
  })

  test('a client is a /64, or a token wherever it is used; who waits weighs more', () => {
    const holder = { name: 'alice', account: Uint8Array.of(0xff, ...Array<number>(15).fill(7)), clientCa: null }
    const { watch, seen, connect, several } = stand()
    for (let i = 0; i < 30; i++) connect(`203.0.113.${i}`, { holder })
    for (let i = 0; i < 5; i++) connect(`2001:db8::${i}`)
    connect('192.0.2.1', { questions: 500 })
    several(2, '198.51.100.1')
    const shed = () => {
      seen.length = 0
      watch.look(FULL)
      return seen.filter((each) => each.endsWith(' overload_shed')).map((each) => each.split(' ')[0])
    }
    assert.deepEqual(new Set(shed()), new Set(['alice']))
    assert.deepEqual(shed(), ['192.0.2.1'])
    assert.deepEqual(shed(), ['2001:db8::0', '2001:db8::1', '2001:db8::2', '2001:db8::3', '2001:db8::4'])
    assert.deepEqual(shed(), [])
  })

  test('that is no matter of clients where they have little of it', () => {
    const { watch, governor, connect } = stand()
    connect('192.0.2.1')
    watch.look(FULL)
    assert.equal(governor.isOverloaded, false)
    connect('192.0.2.1')
    watch.look(FULL)
    assert.equal(governor.isOverloaded, true)
  })

  test('nobody goes who is alone, or asks for many others', () => {
    const { watch, several } = stand()
    const [proxy, alone] = [several(50, '192.0.2.99'), several(10, '192.0.2.1')]
    watch.look(FULL)
    assert.ok([...proxy, ...alone].every(({ isClosed }) => !isClosed))
  })
})

describe('when time is short', () => {
  test('that is when a thread is late twice in a row, until it is in time', () => {
    const { watch, governor } = stand()
    const states = [LATE, FINE, LATE, LATE, { rss: 0, delayMs: 300 }, { rss: 0, delayMs: 250 }].map((vitals) => {
      watch.look(vitals)
      return governor.isOverloaded
    })
    assert.deepEqual(states, [false, false, false, true, true, false])
  })

  test('the client goes that asked most since the last look, not the one that has been here longest', () => {
    const { watch, seen, connect } = stand()
    const [old, busy, third] = ['192.0.2.1', '198.51.100.1', '203.0.113.1'].map((address) => connect(address))
    assert.ok(old && busy && third)
    old.workload.asked = 1_000_000
    watch.look(LATE)
    watch.look(LATE)
    assert.equal(seen.length, 1, 'nothing is known of anybody yet')
    old.workload.asked += 10
    busy.workload.asked += 5000
    third.workload.asked += 12
    watch.look(LATE)
    assert.deepEqual([old.isClosed, busy.isClosed, third.isClosed], [false, true, false])
  })
})

describe('what waits for one client', () => {
  test('has a bound, and the connections go that hold most of it', () => {
    const { watch, seen, connect, several } = stand()
    const greedy = several(17, '192.0.2.1', { held: 1_000_000 })
    const most = connect('192.0.2.1', { held: 2_000_000 })
    const other = several(3, '198.51.100.1', { held: 5_000_000 })
    watch.look(FINE)
    assert.equal(most.isClosed, true)
    assert.equal(greedy.filter(({ isClosed }) => isClosed).length, 1)
    assert.ok(other.every(({ isClosed }) => !isClosed))
    assert.deepEqual(new Set(seen), new Set(['192.0.2.1 buffer_limit']))
  })

  test('is divided among the threads', () => {
    const { watch, several } = stand(8)
    const all = several(3, '192.0.2.1', { held: 1_000_000 })
    watch.look(FINE)
    assert.equal(all.filter(({ isClosed }) => isClosed).length, 1)
  })
})
