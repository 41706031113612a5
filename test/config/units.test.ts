import assert from 'node:assert/strict'
import test from 'node:test'
import * as knobs from '../../gateway/config/knobs.ts'
import { formatDuration, parseDuration } from '../../gateway/config/units.ts'

test('parseDuration() reads a whole number with its unit', () => {
  const durations = ['0s', '250ms', '30s', '5m', '12h', '1d', '007s']
  assert.deepEqual(durations.map(parseDuration), [0, 250, 30_000, 300_000, 43_200_000, 86_400_000, 7000])
})

test('parseDuration() refuses everything else', () => {
  for (const text of ['', '30', 's', '-1s', '+1s', '1.5s', '1 s', ' 1s', '1s ', '1S', '1w', '1h30m', '1e3s', '1234567890s', '١s']) {
    assert.equal(parseDuration(text), null, JSON.stringify(text))
  }
})

test('formatDuration() writes what parseDuration() reads', () => {
  assert.deepEqual([0, 1, 1500, 60_000, 90_000, 86_400_000].map(formatDuration), ['0s', '1ms', '1500ms', '1m', '90s', '1d'])
  for (const knob of Object.values(knobs)) {
    if (typeof knob !== 'object' || !('default' in knob)) continue
    for (const ms of [knob.default, knob.min, knob.max]) assert.equal(parseDuration(formatDuration(ms)), ms)
  }
})

test('knobs have their default inside their range', () => {
  for (const [name, knob] of Object.entries(knobs)) {
    if (typeof knob === 'object' && 'default' in knob) assert.ok(knob.min <= knob.default && knob.default <= knob.max, name)
  }
})
