import assert from 'node:assert/strict'
import test from 'node:test'
import { reasonOf } from '../../dns/operational-error.ts'

test('reasonOf() says what failed at each address of a host, which Node.js puts together without a message', () => {
  const refused = [new Error('connect ENETUNREACH 2001:db8::1:443'), new Error('connect ECONNREFUSED 192.0.2.1:443')]
  assert.equal(reasonOf(new AggregateError(refused)), 'connect ENETUNREACH 2001:db8::1:443, connect ECONNREFUSED 192.0.2.1:443')
  assert.equal(reasonOf(new AggregateError(refused, 'no way')), 'no way')
  assert.equal(reasonOf(new Error('no')), 'no')
  assert.equal(reasonOf(5), '5')
})
