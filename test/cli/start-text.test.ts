import assert from 'node:assert/strict'
import test from 'node:test'
import { startText } from '../../gateway/cli/start-text.ts'
import { testConfig } from '../harness/gateway.ts'

const FACTS = {
  endpoints: { dns: [], dot: [], doq: [], doh: [] },
  admin: null,
  upstreams: ['udp://192.0.2.1'],
  localCa: null,
  warnings: [],
}

test('the start text warns of what is wrong, and of nothing else', () => {
  assert.doesNotMatch(startText(testConfig([]), FACTS), /warning/)
  const text = startText(testConfig([]), { ...FACTS, warnings: ['the certificate of a.example (a.pem) has expired'] })
  assert.match(text, /\n\n {2}warning {19}the certificate of a\.example \(a\.pem\) has expired\n\nTry it:/)
})
