import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import fc from 'fast-check'
import type { Route } from '../../dns/contracts.ts'
import { NO_ROUTE } from '../../dns/route.ts'
import { RouteTable } from '../../gateway/stages/route-table.ts'
import { wireName } from '../harness/messages.ts'

const FALLBACK: Route = { ...NO_ROUTE, space: -1 }

function table(suffixes: readonly string[]): RouteTable {
  return new RouteTable(
    suffixes.map((suffix, space) => ({ suffix: wireName(suffix), route: { ...NO_ROUTE, space } })),
    FALLBACK,
  )
}

/** The position of the suffix that a name goes by, -1 for none. Behind something, as in a message. */
function find(of: RouteTable, name: string): number {
  return of.find(Buffer.concat([Buffer.alloc(12, 3), wireName(name), Buffer.alloc(4, 1)]), 12).space
}

/** What the longest match means, said in the plainest way. */
function naive(suffixes: readonly string[], name: string): number {
  const labels = (text: string) => text.toLowerCase().split('.').filter(Boolean)
  let best = -1
  suffixes.forEach((suffix, i) => {
    const wanted = labels(suffix)
    const own = labels(name).slice(labels(name).length - wanted.length)
    const fits = labels(name).length >= wanted.length && own.every((label, at) => label === wanted[at])
    if (fits && (best < 0 || wanted.length >= labels(suffixes[best] ?? '').length)) best = i
  })
  return best
}

describe('RouteTable', () => {
  test('takes the longest suffix, whole labels of it, in any letter case', () => {
    const of = table(['example', 'corp.example', 'eu.corp.example'])
    const ways = { 'a.example': 0, example: 0, 'CORP.Example': 1, 'xcorp.example': 0, 'a.b.EU.corp.example': 2, 'example.net': -1, '.': -1 }
    for (const [name, way] of Object.entries(ways)) assert.equal(find(of, name === '.' ? '' : name), way, name)
  })

  test('sends everything else by the root, where there is a route for it', () => {
    const of = table(['', 'corp.example'])
    assert.deepEqual([find(of, 'www.example'), find(of, ''), find(of, 'a.corp.example')], [0, 0, 1])
  })

  test('without routes has one way', () => {
    assert.equal(find(table([]), 'www.example'), -1)
  })

  test('compares names, for some have the same hash', () => {
    const [suffix, other] = ['h329599.example', 'h532382.example']
    assert.deepEqual([find(table([suffix]), suffix), find(table([suffix]), other)], [0, -1])
    assert.deepEqual([find(table([suffix, other]), suffix), find(table([suffix, other]), other)], [0, 1])
  })

  test('does what a plain search does', () => {
    const label = fc.constantFrom('a', 'b', 'ab', 'A', 'example', 'x'.repeat(63))
    const name = fc.array(label, { maxLength: 3 }).map((labels) => labels.join('.'))
    fc.assert(
      fc.property(fc.uniqueArray(name, { maxLength: 12, selector: (text) => text.toLowerCase() }), name, (suffixes, asked) => {
        assert.equal(find(table(suffixes), asked), naive(suffixes, asked))
      }),
      { numRuns: 2000 },
    )
  })
})
