import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { type Client, type TRANSPORTS, Verdict } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import type { Query } from '../../dns/query.ts'
import { LimitStage, type LimitTerms } from '../../gateway/stages/limit.ts'
import { parseAddress } from '../../net/address.ts'
import { allocateRates, RateLimit } from '../../net/rate-limit.ts'
import { client, parsedQuery, vector } from '../harness/messages.ts'

const NOBODY = { has: () => false }
const octets = parseAddress('198.51.100.7') ?? assert.fail()

function stage(terms: Partial<Omit<LimitTerms['udp'], 'rate'>> & { queriesPerSecond?: number; perSecond?: number } = {}) {
  const { queriesPerSecond = 0, perSecond = 10, ...udp } = terms
  return new LimitStage(
    {
      queries: {
        rate: queriesPerSecond === 0 ? null : { perSecond: queriesPerSecond, burstMs: 10_000 },
        exempt: { has: (address) => address[15] === 99 },
      },
      udp: { rate: perSecond === 0 ? null : { perSecond, burstMs: 1000 }, slip: 2, exempt: NOBODY, ...udp },
    },
    { queries: new RateLimit(allocateRates()), udp: new RateLimit(allocateRates()) },
  )
}

function queryFrom(
  transport: keyof typeof TRANSPORTS,
  facts: Partial<Pick<Query, 'isProven' | 'cookie'>> = {},
  of: Partial<Client> = {},
): Query {
  const query = parsedQuery(vector('V02'), client(transport, { octets, ...of }))
  query.receivedAt = 1000
  return Object.assign(query, facts)
}

/** What becomes of each of so many queries: "on", "cut", a failure's code. */
function outcomes(limit: LimitStage, count: number, make: () => Query): string[] {
  return Array.from({ length: count }, () => {
    const query = make()
    const verdict = limit.onQuery(query)
    if (verdict === Verdict.NEXT) return 'on'
    return verdict === Verdict.ANSWERED ? (query.answer?.truncated === true ? 'cut' : 'answered') : (query.failure?.code ?? '')
  })
}

describe('over UDP, who may not be there', () => {
  test('gets so many answers, and then every second time the advice to ask over TCP', () => {
    const seen = outcomes(stage(), 14, () => queryFrom('udp'))
    assert.deepEqual(seen, [...Array(10).fill('on'), 'rate_limited', 'cut', 'rate_limited', 'cut'])
  })

  test('gets a cookie instead if it has one of its own', () => {
    const seen = outcomes(stage(), 12, () => queryFrom('udp', { cookie: new Uint8Array(24) }))
    assert.deepEqual(seen.slice(10), ['rate_limited', 'bad_cookie'])
  })

  test('gets such advice as often as is wanted, or never', () => {
    assert.deepEqual(outcomes(stage({ slip: 1 }), 12, () => queryFrom('udp')).slice(10), ['cut', 'cut'])
    assert.deepEqual(outcomes(stage({ slip: 0 }), 12, () => queryFrom('udp')).slice(10), ['rate_limited', 'rate_limited'])
  })

  test('is not limited when its cookie is ours (CK-05), on a stream, in an exempt network, or without a limit', () => {
    for (const [limit, make] of [
      [stage(), () => queryFrom('udp', { isProven: true })],
      [stage(), () => queryFrom('tcp')],
      [stage(), () => queryFrom('dot')],
      [stage({ exempt: { has: (address) => address === octets } }), () => queryFrom('udp')],
      [stage({ perSecond: 0 }), () => queryFrom('udp')],
    ] as const) {
      assert.deepEqual([...new Set(outcomes(limit, 100, make))], ['on'])
    }
  })

  test('is told nothing that is longer than what it asked', () => {
    const limit = stage({ slip: 1 })
    const asked = queryFrom('udp')
    outcomes(limit, 10, () => queryFrom('udp'))
    limit.onQuery(asked)
    assert.ok((asked.answer?.encodeInto(Buffer.alloc(65_535), 0, asked, 0) ?? 0) <= vector('V02').length)
  })
})

describe('a client that asks more than it may', () => {
  const terms = { queriesPerSecond: 2, perSecond: 0 }
  for (const [transport, expected] of [
    ['tcp', 'rate_refused'],
    ['dot', 'rate_refused'],
    ['doq', 'rate_refused'],
    ['doh1', 'rate_limited'],
    ['doh2', 'rate_limited'],
    ['doh3', 'rate_limited'],
  ] as const) {
    test(`hears ${expected} over ${transport}`, () => {
      assert.deepEqual(
        outcomes(stage(terms), 22, () => queryFrom(transport)),
        [...Array(20).fill('on'), expected, expected],
      )
    })
  }

  test('hears it over UDP when it is there for sure, else as little as anybody', () => {
    assert.deepEqual(outcomes(stage(terms), 21, () => queryFrom('udp', { isProven: true })).at(-1), 'rate_refused')
    assert.deepEqual(outcomes(stage(terms), 22, () => queryFrom('udp')).slice(20), ['rate_limited', 'cut'])
  })

  test('has one allowance on all transports', () => {
    const limit = stage(terms)
    outcomes(limit, 10, () => queryFrom('dot'))
    outcomes(limit, 10, () => queryFrom('doh2'))
    assert.deepEqual(
      outcomes(limit, 1, () => queryFrom('tcp')),
      ['rate_refused'],
    )
  })

  test('hurts nobody else', () => {
    const limit = stage(terms)
    outcomes(limit, 100, () => queryFrom('dot'))
    const other = parseAddress('203.0.113.7') ?? assert.fail()
    assert.deepEqual(
      outcomes(limit, 1, () => queryFrom('dot', {}, { octets: other })),
      ['on'],
    )
  })

  test('may be one of those that ask as much as they like', () => {
    const exempt = parseAddress('203.0.113.99') ?? assert.fail()
    assert.deepEqual(new Set(outcomes(stage(terms), 100, () => queryFrom('dot', {}, { octets: exempt }))), new Set(['on']))
  })

  test('is a token, whatever addresses it is used from', () => {
    const limit = stage(terms)
    const holder = { name: 'alice', account: Uint8Array.of(0xff, ...Array<number>(15).fill(7)), clientCa: null }
    const from = (n: number, facts: Partial<Client>) =>
      queryFrom('dot', {}, { octets: parseAddress(`198.51.${n}.1`) ?? assert.fail(), ...facts })
    let n = 0
    assert.deepEqual(outcomes(limit, 21, () => from(n++, { holder })).at(-1), 'rate_refused')
    assert.deepEqual(
      outcomes(limit, 1, () => from(0, {})),
      ['on'],
    )
  })
})

test('HTTP says when to come back (RFC 6585 §4)', () => {
  assert.deepEqual([Failure.rate_limited.http, Failure.rate_refused.http], [429, 200])
})
