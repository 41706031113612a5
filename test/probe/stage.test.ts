import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { probeName } from '../../gateway/stages/probe.ts'
import { question, wireName } from '../harness/messages.ts'
import { rcode } from '../harness/pipeline.ts'
import { answerOf, TOKEN } from './answering.ts'

const TXT = 16
const NXDOMAIN = 3
const ask = answerOf(17)

describe('the stage of the self-probe', () => {
  test('answers with the index of the worker, TTL 0', () => {
    const message = question({ name: `${TOKEN}.probe.invalid`, type: TXT })
    const answer = ask(message)
    const record = Buffer.from('c00c 0010 0001 00000000 0003 023137'.replaceAll(' ', ''), 'hex')
    assert.deepEqual(answer.subarray(message.length), record)
    assert.deepEqual([rcode(answer), answer.readUInt16BE(6)], [0, 1])
  })

  test('takes the name in any letter case, and gives it back as it was', () => {
    const message = question({ name: `${TOKEN.toUpperCase()}.pRoBe.InVaLiD`, type: TXT })
    const answer = ask(message)
    assert.equal(answer.readUInt16BE(6), 1)
    assert.deepEqual(answer.subarray(12, message.length), message.subarray(12))
  })

  for (const [what, name, type] of [
    ['another token', `${TOKEN.slice(0, -1)}e.probe.invalid`, TXT],
    ['a name below', `x.${TOKEN}.probe.invalid`, TXT],
    ['the name above', 'probe.invalid', TXT],
    ['another domain of the same length', `${TOKEN}.probe.invalix`, TXT],
    ['another type', `${TOKEN}.probe.invalid`, 1],
  ] as const) {
    test(`tells nothing to who asks for ${what}`, () => {
      const message = question({ name, type })
      // what no stage takes fails as if there were no upstream
      const expected = name.endsWith('.invalid') ? NXDOMAIN : 2
      assert.deepEqual([rcode(ask(message)), ask(message).readUInt16BE(6)], [expected, 0])
    })
  }

  test('has a name for 32 hexadecimal digits only', () => {
    assert.deepEqual(Buffer.from(probeName(TOKEN.toUpperCase())), wireName(`${TOKEN}.probe.invalid`))
    for (const token of ['', TOKEN.slice(1), `${TOKEN}0`, TOKEN.replace('a', 'g')]) assert.throws(() => probeName(token), RangeError)
  })
})
