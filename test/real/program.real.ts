import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { question } from '../harness/messages.ts'
import { missing, run, runAtlas } from '../harness/real.ts'
import { ADDRESS, BIG_COUNT, NAMES, startLab } from './lab.ts'

const DOT_QUERIES = 2000
/** By GET, and as many by POST. */
const H2_REQUESTS = 50_000

test('the query command asks over UDP, TCP, TLS, HTTPS, HTTP/3 and QUIC', { skip: missing() }, async (t) => {
  const { gateway } = await startLab(t)
  const ca = ['--ca', gateway.ca]
  const servers = [
    [`@udp://127.0.0.1:${gateway.dns}`],
    [`@tcp://127.0.0.1:${gateway.dns}`],
    [`@tls://localhost:${gateway.dot}`, ...ca],
    [`@https://localhost:${gateway.doh}/dns-query`, ...ca],
    [`@https://localhost:${gateway.doh}/dns-query`, '--get', ...ca],
    [`@h3://localhost:${gateway.doh}/dns-query`, ...ca],
    [`@h3://localhost:${gateway.doh}/dns-query`, '--get', ...ca],
    [`@quic://localhost:${gateway.doq}`, ...ca],
  ]
  for (const server of servers) {
    const small = await runAtlas(['query', '--short', ...server, NAMES.www, 'A'])
    assert.deepEqual([small.text.trim(), small.code], [ADDRESS, 0], server.join(' '))
    const big = await runAtlas(['query', '--short', ...server, NAMES.big, 'TXT'])
    assert.equal(big.stdout.toString().trim().split('\n').length, BIG_COUNT, big.text)
  }
  for (const server of [`tls://localhost:${gateway.dot}`, `h3://localhost:${gateway.doh}`, `quic://localhost:${gateway.doq}`]) {
    const untrusted = await runAtlas(['query', `@${server}`, NAMES.www])
    assert.equal(untrusted.code, 1, untrusted.text)
  }
})

test('dnsperf over TLS, h2load and nghttp over HTTPS get every answer', { skip: missing('dnsperf', 'h2load', 'nghttp') }, async (t) => {
  const { gateway, holdings } = await startLab(t)
  const file = join(holdings.folder, 'queries')
  const perf = async (count: number, ...rest: readonly string[]): Promise<void> => {
    writeFileSync(file, `${NAMES.www} A\n${NAMES.www} TXT\n`.repeat(count / 2))
    const { code, text } = await run('dnsperf', ['-s', '127.0.0.1', '-d', file, '-n', '1', '-O', 'suppress=sockready', ...rest])
    assert.equal(code, 0, text)
    assert.match(text, new RegExp(`Queries completed:\\s+${count} \\(100\\.00%\\)`), text)
    assert.match(text, new RegExp(`NOERROR ${count} \\(100\\.00%\\)`), text)
  }
  await perf(DOT_QUERIES, '-m', 'dot', '-p', String(gateway.dot), '-c', '4', '-q', '100')
  // dnsperf 2.10 loses answers over HTTPS, whoever gives them (DNS-OARC/dnsperf#240)
  const url = `https://localhost:${gateway.doh}/dns-query`
  const query = question({ name: NAMES.www, id: 0 })
  writeFileSync(file, query)
  const post = ['-d', file, '-H', 'content-type: application/dns-message']
  for (const what of [[`${url}?dns=${query.toString('base64url')}`], [...post, url]]) {
    const { code, text } = await run('h2load', ['-n', String(H2_REQUESTS), '-c', '10', '-m', '50', ...what])
    assert.equal(code, 0, text)
    assert.match(text, new RegExp(`${H2_REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout`), text)
    assert.match(text, new RegExp(`status codes: ${H2_REQUESTS} 2xx`), text)
    const asked = await run('nghttp', ['-nv', ...what])
    assert.match(asked.text, /recv \(stream_id=\d+\) :status: 200/, asked.text)
    assert.match(asked.text, /recv \(stream_id=\d+\) content-type: application\/dns-message/, asked.text)
    assert.doesNotMatch(asked.text, /recv GOAWAY|recv RST_STREAM/, asked.text)
  }
})
