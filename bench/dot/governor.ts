import type { AddressBytes } from '../../net/address.ts'
import { allocateConcurrency, ConcurrencyLimit } from '../../net/concurrency-limit.ts'
import { allocateRates, RateLimit } from '../../net/rate-limit.ts'
import { Governor } from '../../transports/governor.ts'
import type { Context, Outcome, Part, Row } from '../bench.ts'
import { Dice, interleaved, threadNanoseconds } from '../measure.ts'

const BAR_NS = 300
const CALLS = 1_000_000
const ROUNDS = 9
const CLIENTS = 4096
const FLYING = 64
const WORKERS = [1, 8] as const
const OTHER: AddressBytes = new Uint8Array(16)
/** Never met: a refusal costs less. */
const PLENTY = { perSecond: 1_000_000, burstMs: 10_000 }

export const GOVERNOR: Part = {
  name: 'governor',
  title: 'What the governor costs',
  method: [
    `Nanoseconds of processor time on one thread, by ${CLIENTS.toLocaleString('en')} clients in random order, each of whom and whose networks are counted; medians of rounds in which all take turns. The loop around it is part of every figure.`,
    'Each query takes from the rate of its client where `queriesPerSecond` is set. Only a query that has to wait for an upstream is counted among those in flight, and given back. A connection is counted once, and pays for its handshake.',
  ],
  run,
}

async function run({ isQuick }: Context): Promise<Outcome> {
  const rows: Row[] = []
  for (const workers of WORKERS) {
    const jobs = jobsOf(workers, isQuick ? CALLS / 20 : CALLS)
    const figures = await interleaved(isQuick ? 1 : ROUNDS, jobs)
    const row = (what: string, key: 'rate' | 'inFlight' | 'connection'): Row => ({
      cells: [`${what}, ${workers === 1 ? 'one thread' : `${workers} threads`}`, figures[`${key}4`], figures[`${key}6`]],
    })
    const worst = (...keys: (keyof typeof figures)[]) => Math.max(...keys.map((key) => figures[key]))
    const bar = (ns: number) => ({ text: `≤ ${BAR_NS}`, isMet: ns <= BAR_NS })
    if (workers === 1) rows.push({ ...row('rate of a query', 'rate'), bar: bar(worst('rate4', 'rate6')) })
    rows.push({ ...row('a query in flight, there and back', 'inFlight'), bar: bar(worst('inFlight4', 'inFlight6')) })
    rows.push(row('a connection, in and out', 'connection'))
  }
  return { columns: [{ title: 'ns' }, { title: 'IPv4' }, { title: 'IPv6' }], rows, notes: [] }
}

function jobsOf(workers: number, calls: number) {
  const limit = (perClient: number) =>
    new ConcurrencyLimit({ shared: allocateConcurrency(workers), worker: 0, terms: { perClient, total: Number.POSITIVE_INFINITY } })
  const rate = new RateLimit(allocateRates())
  const inFlight = limit(4000)
  const connections = limit(2)
  // more than one client may have: from now on each is looked at
  for (let i = 0; i < 3; i++) connections.acquire(OTHER)
  const governor = new Governor({
    connections,
    handshakes: new RateLimit(allocateRates()),
    terms: { rate: PLENTY, exempt: { has: () => false } },
    clock: () => performance.now(),
  })
  let now = 0
  const take = (client: AddressBytes) => {
    now += 0.001
    rate.take(client, PLENTY, now)
  }
  // those that came before are given back in between, as upstreams answer
  const flying: AddressBytes[] = Array.from({ length: FLYING }, () => OTHER)
  for (const client of flying) inFlight.acquire(client)
  let turn = 0
  const fly = (client: AddressBytes) => {
    inFlight.acquire(client)
    inFlight.release(flying[turn] as AddressBytes)
    flying[turn] = client
    turn = (turn + 1) % FLYING
  }
  const enter = (client: AddressBytes) => {
    if (governor.enter(client, { hasHandshake: true }) === null) governor.leave(client)
  }
  const timed = (clients: readonly AddressBytes[], call: (client: AddressBytes) => void) => () => {
    const from = threadNanoseconds()
    for (let i = 0; i < calls; i++) call(clients[i % CLIENTS] as AddressBytes)
    return (threadNanoseconds() - from) / calls
  }
  const [v4, v6] = [clientsOf('IPv4'), clientsOf('IPv6')]
  return {
    rate4: timed(v4, take),
    rate6: timed(v6, take),
    inFlight4: timed(v4, fly),
    inFlight6: timed(v6, fly),
    connection4: timed(v4, enter),
    connection6: timed(v6, enter),
  }
}

function clientsOf(family: 'IPv4' | 'IPv6'): readonly AddressBytes[] {
  const dice = new Dice()
  return Array.from({ length: CLIENTS }, () => {
    const address = new Uint8Array(16)
    if (family === 'IPv4') address.set([0xff, 0xff], 10)
    else address.set([0x20, 0x01, 0x0d, 0xb8])
    for (let i = family === 'IPv4' ? 12 : 4; i < 16; i++) address[i] = dice.below(256)
    return address
  })
}
