import assert from 'node:assert/strict'
import test from 'node:test'
import type { Field } from '../../../net/fields.ts'
import { encodeMessage } from '../../../net/http3/message-writer.ts'
import { data, headers } from './bytes.ts'

const FIELDS: readonly Field[] = [
  [':status', '200'],
  ['x', 'y'.repeat(100)],
]

test('encodeMessage() writes HEADERS, and DATA where there is content', () => {
  assert.deepEqual(encodeMessage(FIELDS, new Uint8Array(0)), headers(...FIELDS))
  const content = 'abc'.repeat(30)
  assert.deepEqual(encodeMessage(FIELDS, Buffer.from(content)), Buffer.concat([headers(...FIELDS), data(content)]))
})
