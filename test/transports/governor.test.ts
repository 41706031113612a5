import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { parseAddress } from '../../net/address.ts'
import { testGovernor } from '../harness/limits.ts'

const address = (text: string) => parseAddress(text) ?? assert.fail(text)
const [ONE, TWO, THREE] = ['192.0.2.1', '198.51.100.1', '203.0.113.1'].map(address) as [Uint8Array, Uint8Array, Uint8Array]
const PLAIN = { hasHandshake: false }
const TLS = { hasHandshake: true }

describe('the governor', () => {
  test('says who stands in the way of a connection', () => {
    const governor = testGovernor({ perClient: 2, total: 3 })
    const codes = [ONE, ONE, ONE, TWO, TWO].map((each) => governor.enter(each, PLAIN)?.code ?? 'in')
    assert.deepEqual(codes, ['in', 'in', 'connection_limit', 'in', 'connection_ceiling'])
    governor.leave(ONE)
    governor.leave(TWO)
    assert.equal(governor.enter(ONE, PLAIN), null)
  })

  test('bounds how often a client makes it do a handshake, and nobody else for it', () => {
    let now = 0
    const governor = testGovernor({ clock: () => now, rate: { perSecond: 2, burstMs: 2000 }, exempt: { has: (each) => each === THREE } })
    const knock = (each: Uint8Array, how: typeof TLS) => {
      const failure = governor.enter(each, how)
      if (failure === null) governor.leave(each)
      return failure?.code ?? 'in'
    }
    assert.deepEqual(
      [1, 2, 3, 4, 5].map(() => knock(ONE, TLS)),
      ['in', 'in', 'in', 'in', 'handshake_limit'],
    )
    assert.deepEqual([knock(ONE, PLAIN), knock(TWO, TLS)], ['in', 'in'])
    now = 500
    assert.deepEqual([knock(ONE, TLS), knock(ONE, TLS)], ['in', 'handshake_limit'])
    for (let i = 0; i < 9; i++) assert.equal(knock(THREE, TLS), 'in')
    governor.terms = { ...governor.terms, rate: null }
    assert.equal(knock(ONE, TLS), 'in')
  })

  test('lets nobody in while memory or time is short', () => {
    const governor = testGovernor()
    governor.isOverloaded = true
    assert.equal(governor.enter(ONE, TLS)?.code, 'overload_refused')
    governor.isOverloaded = false
    assert.equal(governor.enter(ONE, TLS), null)
  })
})
