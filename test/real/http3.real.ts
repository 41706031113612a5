import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { question } from '../harness/messages.ts'
import { missing, run } from '../harness/real.ts'
import { ADDRESS, NAMES, startLab } from './lab.ts'

const QUERY = question({ id: 0, name: NAMES.www })

test('gtlsclient (ngtcp2) asks over HTTP/3, and hears what is wrong', { skip: missing('gtlsclient') }, async (t) => {
  const { gateway, holdings } = await startLab(t)
  const content = join(holdings.folder, 'query.bin')
  writeFileSync(content, QUERY)
  /** Status, header fields and content as it prints them. */
  const request = async (path: string, ...options: readonly string[]): Promise<string> => {
    const target = ['127.0.0.1', String(gateway.doh), `https://localhost:${gateway.doh}${path}`]
    const { code, text } = await run('gtlsclient', ['--no-quic-dump', '--exit-on-all-streams-close', ...options, ...target])
    assert.equal(code, 0, text)
    return text
  }
  const answer = await request(`/dns-query?dns=${QUERY.toString('base64url')}`)
  assert.match(answer, /\[:status: 200\]/, answer)
  assert.match(answer, /\[content-type: application\/dns-message\]/)
  assert.match(answer, /\[cache-control: max-age=\d+\]/)
  // the hexdump of the content, 16 octets a line
  const octets = [...answer.matchAll(/^[0-9a-f]{8} {2}((?:[0-9a-f]{2} +)+)\|/gm)].map(([, hex = '']) => hex.replaceAll(' ', '')).join('')
  const message = Buffer.from(octets, 'hex')
  assert.equal(message.readUInt16BE(6), 1, 'one record')
  assert.ok(message.includes(Buffer.from(ADDRESS.split('.').map(Number))), answer)

  assert.match(await request('/elsewhere'), /\[:status: 404\]/)
  assert.match(await request('/dns-query?dns=AAAA='), /\[:status: 400\]/)
  // it cannot send a content-type
  assert.match(await request('/dns-query', '-m', 'POST', '-d', content), /\[:status: 415\]/)
})
