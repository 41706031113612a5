import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { lineText, printable, shortened, wrapped } from '../../gateway/cli/lines.ts'
import { count, counted, duration, latency, moment, octets, percent, rate } from '../../gateway/cli/quantities.ts'
import { table } from '../../gateway/cli/table.ts'

describe('quantities', () => {
  test('are in units that people read', () => {
    assert.equal(count(1_234_567), '1,234,567')
    assert.deepEqual(
      [0, 1, 1200].map((value) => counted(value, 'entry', 'entries')),
      ['0 entries', '1 entry', '1,200 entries'],
    )
    const durations = [0, 0.4, 59.9, 60, 3_661, 86_400, 86_460, 273_600, -45].map(duration)
    assert.deepEqual(durations, ['0 s', '0 s', '59 s', '1 min', '1 h 1 min', '1 d', '1 d', '3 d 4 h', '45 s'])
    const latencies = [null, 0, 0.0004, 0.00994, 0.00996, 0.12, 0.9994, 0.9996, 12].map(latency)
    assert.deepEqual(latencies, ['–', '0.0 ms', '0.4 ms', '9.9 ms', '10 ms', '120 ms', '999 ms', '1.0 s', '12.0 s'])
    const sizes = [0, 1023, 1024, 12_897_485, 1024 ** 2 - 1, 3 * 1024 ** 3, 5000 * 1024 ** 4].map(octets)
    assert.deepEqual(sizes, ['0 B', '1023 B', '1.0 KiB', '12.3 MiB', '1.0 MiB', '3.0 GiB', '5000.0 TiB'])
    assert.deepEqual([percent(0.9321), percent(1), percent(0 / 0)], ['93.2 %', '100.0 %', '–'])
    assert.deepEqual([0, 0.24, 9.94, 9.96, 12_345.6].map(rate), ['0', '0.2', '9.9', '10', '12,346'])
    assert.equal(moment('2026-03-01T12:00:00.123Z'), '2026-03-01 12:00:00 UTC')
  })
})

describe('lines', () => {
  test('lose what a terminal obeys', () => {
    assert.equal(printable('a\u001b[31m\r\nb\u009bc\u202ed'), 'a [31m b c d')
    const line = ['x', { text: '\u001b]0;title\u0007', style: 'bad' as const }]
    assert.equal(lineText(line, { colour: true }), 'x\u001b[31m ]0;title \u001b[0m')
    assert.equal(lineText(line, { colour: false }), 'x ]0;title')
  })

  test('end at a width, whatever their colours', () => {
    const line = [{ text: 'abc', style: 'good' as const }, 'déf', { text: 'ghi', style: 'bad' as const }]
    assert.equal(lineText(line, { colour: true, width: 5 }), '\u001b[32mabc\u001b[0mdé')
    assert.equal(lineText('𝒳𝒴', { colour: false, width: 1 }), '𝒳')
    assert.deepEqual([shortened('abcd', 4), shortened('abcde', 4), shortened('abc', 0)], ['abcd', 'abc…', '…'])
  })

  test('are broken between words', () => {
    assert.deepEqual(wrapped('one two\nthree fourteen-letters', 9), ['one two', 'three', 'fourteen-letters'])
    assert.deepEqual(wrapped('', 9), [''])
  })

  test('of a table are aligned by what is shown', () => {
    const rows = [
      ['a\u0000b', '1'],
      [{ text: 'long', style: 'bad' as const }, '1,000'],
    ]
    const lines = table([{ title: 'NAME' }, { title: 'N', right: true }], rows)
    assert.deepEqual(
      lines.map((line) => lineText(line, { colour: false })),
      ['NAME      N', 'a b       1', 'long  1,000'],
    )
  })
})
