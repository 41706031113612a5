import assert from 'node:assert/strict'
import test from 'node:test'
import * as knobs from '../../gateway/config/knobs.ts'
import { formatDuration, formatSize, parseDuration, parseSize } from '../../gateway/config/units.ts'

test('parseDuration() reads a whole number with its unit', () => {
  const durations = ['0s', '250ms', '30s', '5m', '12h', '1d', '007s']
  assert.deepEqual(durations.map(parseDuration), [0, 250, 30_000, 300_000, 43_200_000, 86_400_000, 7000])
})

test('parseDuration() refuses everything else', () => {
  for (const text of ['', '30', 's', '-1s', '+1s', '1.5s', '1 s', ' 1s', '1s ', '1S', '1w', '1h30m', '1e3s', '1234567890s', '١s']) {
    assert.equal(parseDuration(text), null, JSON.stringify(text))
  }
})

test('parseSize() reads a whole number with its unit, and nothing else', () => {
  assert.deepEqual(['0KiB', '512KiB', '64MiB', '2GiB', '007MiB'].map(parseSize), [0, 524_288, 67_108_864, 2_147_483_648, 7_340_032])
  for (const text of ['', '64', 'MiB', '-1MiB', '1.5GiB', '1 MiB', '1MB', '1mib', '1M', '1B', '1TiB', '1234567890KiB']) {
    assert.equal(parseSize(text), null, JSON.stringify(text))
  }
  assert.deepEqual([0, 1024, 1_048_576, 1_049_600, 67_108_864].map(formatSize), ['0MiB', '1KiB', '1MiB', '1025KiB', '64MiB'])
})

test('formatDuration() writes what parseDuration() reads', () => {
  assert.deepEqual([0, 1, 1500, 60_000, 90_000, 86_400_000].map(formatDuration), ['0s', '1ms', '1500ms', '1m', '90s', '1d'])
  const { CACHE_MEMORY, PROCESS_MEMORY, ...others } = knobs
  for (const { min, max, default: standard } of [CACHE_MEMORY, PROCESS_MEMORY])
    for (const octets of [standard, min, max]) assert.equal(parseSize(formatSize(octets)), octets)
  for (const knob of Object.values(others)) {
    if (typeof knob !== 'object' || !('default' in knob)) continue
    for (const ms of [knob.default, knob.min, knob.max]) assert.equal(parseDuration(formatDuration(ms)), ms)
  }
})

test('knobs have their default inside their range', () => {
  for (const [name, knob] of Object.entries(knobs)) {
    if (typeof knob === 'object' && 'default' in knob) assert.ok(knob.min <= knob.default && knob.default <= knob.max, name)
  }
})
