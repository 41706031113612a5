import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { missing, run, runAtlas } from '../harness/real.ts'
import { ADDRESS, BIG_COUNT, NAMES, startLab } from './lab.ts'

const DOT_QUERIES = 2000
/** One after the other: dnsperf 2.10 loses all but one of the responses that arrive in one TLS record (DNS-OARC/dnsperf#240). */
const DOH_QUERIES = 50

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

test('dnsperf over TLS and HTTPS gets every answer', { skip: missing('dnsperf') }, async (t) => {
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
  for (const method of ['GET', 'POST']) {
    const doh = ['-O', `doh-uri=https://localhost:${gateway.doh}/dns-query`, '-O', `doh-method=${method}`]
    await perf(DOH_QUERIES, '-m', 'doh', '-p', String(gateway.doh), '-c', '1', '-q', '1', ...doh)
  }
})
