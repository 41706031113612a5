import assert from 'node:assert/strict'
import test from 'node:test'
import { type Finished, missing, run } from '../harness/real.ts'
import { ADDRESS, BIG_COUNT, NAMES, type RealGateway, startLab } from './lab.ts'

/** RFC 8467 §4.1: responses in blocks of this many octets. */
const BLOCK = 468
const KDIG = { skip: missing('kdig') }
const DIG = { skip: missing('dig') }

function tls(ca: string): readonly string[] {
  return [`+tls-ca=${ca}`, '+tls-hostname=localhost']
}

/** Asks once: a retry would hide a lost answer. */
function kdig(port: number, ...rest: readonly string[]): Promise<Finished> {
  return run('kdig', ['@127.0.0.1', '-p', String(port), '+retry=0', ...rest])
}

function dig(port: number, ...rest: readonly string[]): Promise<Finished> {
  return run('dig', ['@127.0.0.1', '-p', String(port), '+tries=1', '+nocookie', ...rest])
}

function assertAnswer({ code, text }: Finished): void {
  assert.equal(code, 0, text)
  assert.match(text, /status: NOERROR/, text)
  assert.match(text, new RegExp(`^www\\.lab\\.example\\.\\s+\\d+\\s+IN\\s+A\\s+${ADDRESS}$`, 'm'), text)
}

/** That of the message, padding included. */
function assertSize({ text }: Finished, octets: number): void {
  assert.match(text, new RegExp(`Received ${octets} B`), text)
  assert.match(text, /PADDING: \d+ B/, text)
}

test('kdig over TLS, QUIC and HTTPS checks the certificate and gets answers padded to 468 octets', KDIG, async (t) => {
  const { gateway } = await startLab(t)
  for (const [port, protocol, session] of [
    [gateway.dot, '+tls', /TLS session \(TLS1\.3\)/],
    // it has to be the last option: kdig forgets it with each one about TLS that follows
    [gateway.doq, '+quic', /QUIC session \(QUICv1\)-\(TLS1\.3\)/],
  ] as const) {
    const result = await kdig(port, ...tls(gateway.ca), protocol, NAMES.www)
    assertAnswer(result)
    assertSize(result, BLOCK)
    assert.match(result.text, session)
  }
  const big = await kdig(gateway.doq, ...tls(gateway.ca), '+quic', NAMES.big, 'TXT')
  assert.equal(big.text.match(/^big\.lab\.example\.\s.*\sTXT\s/gm)?.length, BIG_COUNT, big.text)
  for (const method of [[], ['+https-get']]) {
    const result = await kdig(gateway.doh, '+https=/dns-query', ...method, ...tls(gateway.ca), NAMES.www)
    assertAnswer(result)
    assert.match(result.text, new RegExp(`HTTP/2-${method.length === 0 ? 'POST' : 'GET'}.*status: 200`, 's'))
    assertSize(result, BLOCK)
  }
})

test('kdig refuses the certificate when it trusts another CA or expects another name', KDIG, async (t) => {
  const { gateway } = await startLab(t)
  const other = (await startLab(t)).gateway.ca
  for (const wrong of [tls(other), [`+tls-ca=${gateway.ca}`, '+tls-hostname=dns.example.net']]) {
    for (const [port, protocol] of [
      [gateway.dot, '+tls'],
      [gateway.doh, '+https=/dns-query'],
      [gateway.doq, '+quic'],
    ] as const) {
      const { code, text } = await kdig(port, ...wrong, protocol, NAMES.www)
      assert.equal(code, 1, text)
      assert.match(text, protocol === '+quic' ? /failed to (?:connect|query)|certificate/i : /certificate/i)
      assert.doesNotMatch(text, new RegExp(ADDRESS))
    }
  }
})

test('kdig over UDP and over TCP', KDIG, async (t) => {
  const { gateway } = await startLab(t)
  for (const protocol of ['+notcp', '+tcp']) {
    const result = await kdig(gateway.dns, protocol, NAMES.www)
    assertAnswer(result)
    assert.match(result.text, protocol === '+tcp' ? /\(TCP\)/ : /\(UDP\)/)
    // RFC 7830 §6: padding makes no sense where anybody can read
    assert.doesNotMatch(result.text, /PADDING/)
  }
})

/** RFC 7858 §3.3: several queries on one connection. */
async function assertReuse({ dot, ca }: RealGateway): Promise<void> {
  const { code, text } = await dig(dot, '+tls', ...tls(ca), '+keepopen', NAMES.www, 'A', NAMES.www, 'TXT')
  assert.equal(code, 0, text)
  assert.match(text, /only-the-lab-knows/)
}

test('dig over TLS, HTTPS by POST and by GET, UDP with a cookie and TCP', DIG, async (t) => {
  const { gateway } = await startLab(t)
  assertAnswer(await dig(gateway.dot, '+tls', ...tls(gateway.ca), NAMES.www))
  assertAnswer(await dig(gateway.doh, '+https=/dns-query', ...tls(gateway.ca), NAMES.www))
  assertAnswer(await dig(gateway.doh, '+https-get=/dns-query', ...tls(gateway.ca), NAMES.www))
  assertAnswer(await dig(gateway.dns, NAMES.www))
  assertAnswer(await dig(gateway.dns, '+tcp', NAMES.www))
  const first = await dig(gateway.dns, '+cookie', NAMES.www)
  const cookie = /COOKIE: ([0-9a-f]{48}) \(good\)/.exec(first.text)?.[1] ?? assert.fail(first.text)
  assert.match((await dig(gateway.dns, `+cookie=${cookie}`, NAMES.www)).text, new RegExp(`COOKIE: ${cookie} \\(good\\)`))
  await assertReuse(gateway)
})

test('dig gets a big TXT RRset truncated over UDP and whole over TCP', DIG, async (t) => {
  const { gateway } = await startLab(t)
  const texts = (text: string): number => text.match(/^big\.lab\.example\.\s.*\sTXT\s/gm)?.length ?? 0

  const cut = await dig(gateway.dns, '+ignore', '+bufsize=1232', NAMES.big, 'TXT')
  assert.match(cut.text, /flags: qr tc /, cut.text)
  assert.ok(texts(cut.text) < BIG_COUNT, cut.text)
  assert.ok(Number(/MSG SIZE\s+rcvd: (\d+)/.exec(cut.text)?.[1]) <= 1232, cut.text)

  const whole = await dig(gateway.dns, '+bufsize=1232', NAMES.big, 'TXT')
  assert.match(whole.text, /Truncated, retrying in TCP mode/)
  assert.doesNotMatch(whole.text, /flags: qr tc /)
  assert.equal(texts(whole.text), BIG_COUNT, whole.text)
})

test('dig +keepalive hears over TCP and TLS that the connection stays for 30 seconds', DIG, async (t) => {
  const { gateway } = await startLab(t)
  for (const result of [
    await dig(gateway.dns, '+tcp', '+keepalive', NAMES.www),
    await dig(gateway.dot, '+tls', ...tls(gateway.ca), '+keepalive', NAMES.www),
  ]) {
    assertAnswer(result)
    assert.match(result.text, /TCP[- ]KEEPALIVE: 30\.0 secs/i, result.text)
  }
})
