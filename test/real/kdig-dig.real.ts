import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { type Finished, missing, run } from '../harness/real.ts'
import { ADDRESS, BIG_COUNT, metric, NAMES, OTHER_PIN, pinOf, type RealGateway, startLab } from './lab.ts'

/** RFC 8467 §4.1: responses in blocks of this many octets. */
const BLOCK = 468
/** Queries on one connection. */
const MANY = 100
/** Queries after which one a second is too many, at the latest. */
const PATIENCE = 40
const KDIG = { skip: missing('kdig') }
const BOTH = { skip: missing('kdig', 'dig') }

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

function countTexts({ text }: Finished): number {
  return text.match(/^big\.lab\.example\.\s.*\sTXT\s/gm)?.length ?? 0
}

/** That of the message, padding included. */
function assertSize({ text }: Finished, octets: number): void {
  assert.match(text, new RegExp(`Received ${octets} B`), text)
  assert.match(text, /PADDING: \d+ B/, text)
}

test('kdig over TLS, QUIC and HTTPS checks the certificate and gets answers padded to 468 octets', KDIG, async (t) => {
  const { gateway } = await startLab(t)
  await assertAnswers(gateway)
  await assertOneConnection(gateway)
  await assertRefusesOthers(gateway, (await startLab(t)).gateway.ca)
})

async function assertAnswers(gateway: RealGateway): Promise<void> {
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
  assert.equal(countTexts(big), BIG_COUNT, big.text)
  for (const method of [[], ['+https-get']]) {
    const result = await kdig(gateway.doh, '+https=/dns-query', ...method, ...tls(gateway.ca), NAMES.www)
    assertAnswer(result)
    assert.match(result.text, new RegExp(`HTTP/2-${method.length === 0 ? 'POST' : 'GET'}.*status: 200`, 's'))
    assertSize(result, BLOCK)
  }
}

/** RFC 7858 §3.3: many queries on one connection. */
async function assertOneConnection(gateway: RealGateway): Promise<void> {
  const before = await handshakesBesideQueries(gateway)
  const queries = Array.from({ length: MANY }, (_, i) => [`${i}.${NAMES.many}`, 'A']).flat()
  const { code, text } = await kdig(gateway.dot, ...tls(gateway.ca), '+keepopen', ...queries)
  assert.equal(code, 0, text)
  assert.equal(text.match(new RegExp(`^\\d+\\.${NAMES.many}\\.\\s.*\\sA\\s+${ADDRESS}$`, 'gm'))?.length, MANY, text)
  assert.equal(text.match(/PADDING: \d+ B/g)?.length, MANY, text)
  assert.equal((await handshakesBesideQueries(gateway)) - before, 1 - MANY)
}

/** How many more handshakes than queries DoT has seen: the self-probe, which may come at any time, adds one of each. */
async function handshakesBesideQueries(gateway: RealGateway): Promise<number> {
  const families = ['atlas_handshakes_total{transport="dot",outcome="ok"', 'atlas_queries_total{transport="dot"']
  const [handshakes = 0, queries = 0] = await Promise.all(families.map((begin) => metric(gateway, begin)))
  return handshakes - queries
}

/** Those of another CA, with another name and with another key. */
async function assertRefusesOthers(gateway: RealGateway, otherCa: string): Promise<void> {
  for (const wrong of [tls(otherCa), [`+tls-ca=${gateway.ca}`, '+tls-hostname=dns.example.net'], [`+tls-pin=${OTHER_PIN}`]]) {
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
  assertAnswer(await kdig(gateway.dot, `+tls-pin=${pinOf(gateway)}`, NAMES.www))
}

test(
  'kdig and dig over UDP and TCP, past the limit of UDP by a cookie, and dig over TLS and HTTPS, with several queries on a connection that stays for 30 seconds',
  BOTH,
  async (t) => {
    const { gateway } = await startLab(t)
    await assertPlain(gateway)
    assertAnswer(await dig(gateway.dot, '+tls', ...tls(gateway.ca), NAMES.www))
    assertAnswer(await dig(gateway.doh, '+https=/dns-query', ...tls(gateway.ca), NAMES.www))
    assertAnswer(await dig(gateway.doh, '+https-get=/dns-query', ...tls(gateway.ca), NAMES.www))
    const before = await handshakesBesideQueries(gateway)
    for (const [port, ...options] of [
      [gateway.dns, '+tcp'],
      [gateway.dot, '+tls', ...tls(gateway.ca)],
    ] as const) {
      const result = await dig(port, ...options, '+keepopen', '+keepalive', NAMES.www, 'A', NAMES.www, 'TXT', NAMES.big, 'TXT')
      assertAnswer(result)
      assert.match(result.text, /only-the-lab-knows/)
      assert.equal(countTexts(result), BIG_COUNT, result.text)
      assert.equal(result.text.match(/TCP[- ]KEEPALIVE: 30\.0 secs/gi)?.length, 3, result.text)
    }
    assert.equal((await handshakesBesideQueries(gateway)) - before, 1 - 3)
    await assertPastLimit(t)
  },
)

/** What is too long for UDP is cut there, and whole over TCP. */
async function assertPlain(gateway: RealGateway): Promise<void> {
  for (const protocol of ['+notcp', '+tcp']) {
    assertAnswer(await dig(gateway.dns, protocol, NAMES.www))
    const result = await kdig(gateway.dns, protocol, NAMES.www)
    assertAnswer(result)
    assert.match(result.text, protocol === '+tcp' ? /\(TCP\)/ : /\(UDP\)/)
    // RFC 7830 §6: padding makes no sense where anybody can read
    assert.doesNotMatch(result.text, /PADDING/)
  }
  const cut = await dig(gateway.dns, '+ignore', '+bufsize=1232', NAMES.big, 'TXT')
  assert.match(cut.text, /flags: qr tc /, cut.text)
  assert.ok(countTexts(cut) < BIG_COUNT, cut.text)
  assert.ok(Number(/MSG SIZE\s+rcvd: (\d+)/.exec(cut.text)?.[1]) <= 1232, cut.text)

  const whole = await dig(gateway.dns, '+bufsize=1232', NAMES.big, 'TXT')
  assert.match(whole.text, /Truncated, retrying in TCP mode/)
  assert.doesNotMatch(whole.text, /flags: qr tc /)
  assert.equal(countTexts(whole), BIG_COUNT, whole.text)
}

/** With a cookie over UDP, without one over TCP. */
async function assertPastLimit(t: TestContext): Promise<void> {
  const { gateway } = await startLab(t, 'limits: { udp: { perSecond: 1, slip: 1, exempt: [] } }')
  /** Asks until the gateway has had enough. */
  const askUntil = async (sign: RegExp, ...options: readonly string[]): Promise<Finished> => {
    for (let i = 1; ; i++) {
      const result = await dig(gateway.dns, ...options, NAMES.www)
      if (sign.test(result.text) || i === PATIENCE) return result
    }
  }
  const bad = await askUntil(/BADCOOKIE/, '+cookie', '+nobadcookie')
  assert.match(bad.text, /status: BADCOOKIE/, bad.text)
  const [, cookie] = /COOKIE: ([0-9a-f]{48}) \(good\)/.exec(bad.text) ?? assert.fail(bad.text)
  for (let i = 0; i < PATIENCE; i++) {
    const good = await dig(gateway.dns, `+cookie=${cookie}`, '+nobadcookie', NAMES.www)
    assertAnswer(good)
    assert.match(good.text, new RegExp(`COOKIE: ${cookie} \\(good\\)`))
    assert.match(good.text, /\(UDP\)/)
  }
  // both ask again by themselves
  const again = await askUntil(/BADCOOKIE/, '+cookie')
  assert.match(again.text, /BADCOOKIE, retrying/, again.text)
  assertAnswer(again)
  assertAnswer(await kdig(gateway.dns, '+cookie', '+badcookie', NAMES.www))
  const overTcp = await askUntil(/TCP/)
  assert.match(overTcp.text, /Truncated, retrying in TCP mode/, overTcp.text)
  assertAnswer(overTcp)
}
