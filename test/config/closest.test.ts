import assert from 'node:assert/strict'
import test from 'node:test'
import { closest } from '../../gateway/config/closest.ts'

const KEYS = ['doh', 'dot', 'dns', 'admin', 'minVersion', 'certificates', 'connectionsPerClient']

test('closest() finds what one slip of the finger made', () => {
  const slips = {
    dto: 'dot',
    dn: 'dns',
    amdin: 'admin',
    certificate: 'certificates',
    conectionPerClient: 'connectionsPerClient',
  }
  for (const [slip, meant] of Object.entries(slips)) assert.equal(closest(slip, KEYS), meant, slip)
})

test('closest() looks past letter case, hyphens and underscores', () => {
  for (const word of ['MINVERSION', 'min-version', 'Min_Version', 'min-versoin']) assert.equal(closest(word, KEYS), 'minVersion', word)
})

test('closest() prefers the nearest, and the first of equals', () => {
  assert.equal(closest('listenx', ['listen', 'listenxy', 'listenx']), 'listenx')
  assert.equal(closest('do', ['doh', 'dot']), 'doh')
  assert.equal(closest('dto', ['dta', 'dot']), 'dta')
})

test('closest() finds nothing in words that are different', () => {
  for (const word of ['foo', 'quic', 'x', '', 'certs', 'x'.repeat(100_000)]) assert.equal(closest(word, KEYS), null, word.slice(0, 10))
})
