import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect as http2Connect } from 'node:http2'
import { type AddressInfo, createServer, type Socket, connect as tcpConnect } from 'node:net'
import { join } from 'node:path'
import test from 'node:test'
import { connect as tlsConnect } from 'node:tls'
import { Deframer } from '../../net/framing.ts'
import { question } from '../harness/messages.ts'
import { type Finished, type Holdings, missing, run } from '../harness/real.ts'
import { frame } from '../harness/servers.ts'
import { ADDRESS, type Lab, metric, NAMES, type RealGateway, startLab } from './lab.ts'

const RAW = { skip: missing() }
const PIPELINED = 1000
/** Long enough for three reloads. */
const STEADY_S = 5
/** Octets of answers after which a connection is reset, amid one. */
const RESET_AFTER = 20_000
const GIVEN_BACK_WITHIN_MS = 10_000
/** The client's patience of 4 s, and what starting kdig takes. */
const FAILED_WITHIN_MS = 5000
const PAGE = /IN\s+A\s+127\.0\.0\.1\n/
const RECOVERED_WITHIN_MS = 20_000
/** Much less than the 4 s that the open query lives. */
const REFUSED_WITHIN_MS = 2000
const ANSWER = Buffer.from(ADDRESS.split('.').map(Number))

async function openDot({ dot, ca }: RealGateway): Promise<Socket> {
  const socket = tlsConnect({ host: '127.0.0.1', port: dot, servername: 'localhost', ca: readFileSync(ca), ALPNProtocols: ['dot'] })
  await once(socket, 'secureConnect')
  return socket
}

/** Answers as they come, until the connection ends. */
async function* answersOf(socket: Socket): AsyncGenerator<Buffer> {
  const deframer = new Deframer()
  for await (const chunk of socket) {
    deframer.push(chunk as Buffer)
    for (let message = deframer.next(); message !== null; message = deframer.next()) yield Buffer.from(message)
  }
}

async function nextAnswer(answers: AsyncGenerator<Buffer>): Promise<Buffer> {
  const { value, done } = await answers.next()
  if (done === true) throw new Error('Connection ended without the answer')
  return value
}

function assertAnswers(message: Buffer, id: number): void {
  assert.equal(message.readUInt16BE(0), id)
  assert.equal(message.readUInt16BE(2) & 0x800f, 0x8000, 'a response, NOERROR')
  assert.ok(message.includes(ANSWER))
}

function kdig({ gateway }: Lab, name: string): Promise<Finished> {
  return run('kdig', ['@127.0.0.1', '-p', String(gateway.dot), '+tls', '+retry=0', '+timeout=10', name])
}

function assertServerFailure({ text }: Finished): void {
  assert.match(text, /status: SERVFAIL/, text)
  assert.match(text, /EDE: 2[23] /, text)
}

async function assertPipelined({ gateway, holdings }: Lab): Promise<void> {
  const socket = await openDot(gateway)
  holdings.defer(() => socket.destroy())
  const ids = Array.from({ length: PIPELINED }, (_, id) => id)
  socket.write(Buffer.concat(ids.map((id) => frame(question({ name: NAMES.www, id })))))
  const answers = answersOf(socket)
  const seen = new Set<number>()
  for (let i = 0; i < PIPELINED; i++) {
    const answer = await nextAnswer(answers)
    const id = answer.readUInt16BE(0)
    assertAnswers(answer, id)
    seen.add(id)
  }
  assert.equal(seen.size, PIPELINED)
}

async function assertConcurrent({ gateway, holdings }: Lab): Promise<void> {
  const session = http2Connect(`https://127.0.0.1:${gateway.doh}`, { ca: readFileSync(gateway.ca) })
  holdings.defer(() => session.destroy())
  await once(session, 'connect')
  const path = `/dns-query?dns=${question({ name: NAMES.www, id: 0 }).toString('base64url')}`
  const ask = async (): Promise<void> => {
    const chunks: Buffer[] = []
    for await (const chunk of session.request({ ':path': path })) chunks.push(chunk as Buffer)
    assertAnswers(Buffer.concat(chunks), 0)
  }
  await Promise.all(Array.from({ length: PIPELINED }, ask))
}

test(
  '1,000 queries at once on one connection are all answered, over TLS and over HTTP/2; a slow answer holds up no other',
  RAW,
  async (t) => {
    const lab = await startLab(t)
    await assertPipelined(lab)
    await assertConcurrent(lab)
    await assertSlowIsPassed(lab)
  },
)

async function assertSlowIsPassed({ gateway, holdings, slow }: Lab): Promise<void> {
  const socket = await openDot(gateway)
  holdings.defer(() => socket.destroy())
  const answers = answersOf(socket)
  socket.write(frame(question({ name: NAMES.slow, id: 1 })))
  await slow.asked
  socket.write(frame(question({ name: NAMES.www, id: 2 })))
  assertAnswers(await nextAnswer(answers), 2)
  slow.release()
  assertAnswers(await nextAnswer(answers), 1)
}

test('a dead upstream is known answers and failures, and answers to all once it is back', { skip: missing('kdig') }, async (t) => {
  const lab = await startLab(t)
  assert.match((await kdig(lab, NAMES.www)).text, new RegExp(ADDRESS))

  const open = kdig(lab, NAMES.slow)
  await lab.slow.asked
  const killed = Date.now()
  await lab.unbound.kill()
  assertServerFailure(await open)
  assert.ok(Date.now() - killed < FAILED_WITHIN_MS, `took ${Date.now() - killed} ms`)
  const asked = Date.now()
  assertServerFailure(await kdig(lab, NAMES.page))
  assert.ok(Date.now() - asked < FAILED_WITHIN_MS, `took ${Date.now() - asked} ms`)
  assert.match((await kdig(lab, NAMES.www)).text, new RegExp(ADDRESS), 'what is known is answered')

  await lab.restartUnbound()
  const restarted = Date.now()
  let again = await kdig(lab, NAMES.page)
  while (!PAGE.test(again.text) && Date.now() - restarted < RECOVERED_WITHIN_MS) again = await kdig(lab, NAMES.page)
  assert.match(again.text, PAGE, again.text)
})

/** How connecting fails; the log line comes a little before the listeners close, and what the kernel had accepted by then is reset. */
async function refusal(port: number): Promise<unknown> {
  const deadline = Date.now() + REFUSED_WITHIN_MS
  for (;;) {
    const late = tcpConnect(port, '127.0.0.1')
    try {
      await once(late, 'connect')
      if (Date.now() > deadline) return null
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : error
      if (code !== 'ECONNRESET' || Date.now() > deadline) return code
    } finally {
      late.destroy()
    }
  }
}

test('SIGTERM: open queries are answered, new connections refused, exit code 0', RAW, async (t) => {
  const { gateway, holdings, slow } = await startLab(t)
  const socket = await openDot(gateway)
  holdings.defer(() => socket.destroy())
  const answers = answersOf(socket)
  socket.write(frame(question({ name: NAMES.slow, id: 7 })))
  await slow.asked
  gateway.process.signal('SIGTERM')
  await gateway.process.until(/"msg":"draining"/)
  for (const port of [gateway.dot, gateway.doh, gateway.dns]) assert.equal(await refusal(port), 'ECONNREFUSED')
  slow.release()
  assertAnswers(await nextAnswer(answers), 7)
  assert.equal((await answers.next()).done, true, 'the connection ends')
  assert.equal(await gateway.process.exit, 0, gateway.process.text)
})

/** Passes connections on to a port, and resets each when so much has come back. */
async function startResetting(holdings: Holdings, port: number): Promise<number> {
  const open = new Set<Socket>()
  const server = createServer((client) => {
    const gateway = tcpConnect(port, '127.0.0.1')
    const pair = [client, gateway]
    let left = RESET_AFTER
    for (const socket of pair) {
      open.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => open.delete(socket))
    }
    client.pipe(gateway).pipe(client)
    gateway.on('data', ({ length }: Buffer) => {
      left -= length
      if (left < 0) for (const socket of pair) socket.resetAndDestroy()
    })
  })
  holdings.defer(() => {
    server.close()
    for (const socket of open) socket.destroy()
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return (server.address() as AddressInfo).port
}

/** dnsperf over TLS for some seconds. */
function perf({ holdings }: Lab, port: number, seconds: number, ...rest: readonly string[]): Promise<Finished> {
  const file = join(holdings.folder, 'queries')
  writeFileSync(file, `${NAMES.www} A\n${NAMES.www} TXT\n`)
  const common = ['-s', '127.0.0.1', '-m', 'dot', '-d', file, '-e', '-W', '-O', 'suppress=sockready,timeouts']
  return run('dnsperf', [...common, '-p', String(port), '-l', String(seconds), '-Q', '1000', ...rest])
}

async function reload({ gateway }: Lab, times: number): Promise<void> {
  const before = readFileSync(gateway.config, 'latin1')
  for (let i = 1; i <= times; i++) {
    writeFileSync(gateway.config, `${before}timeouts: { query: ${4 + i}s }\n`)
    gateway.process.signal('SIGHUP')
    await gateway.process.until(new RegExp(`(?:"outcome":"applied"[^]*){${i}}`))
  }
}

async function holdsAny(gateway: RealGateway): Promise<boolean> {
  return (await metric(gateway, 'atlas_connections{transport="dot"}')) + (await metric(gateway, 'atlas_queries_open')) > 0
}

test('neither reloads nor connections that are reset cost other clients an answer', { skip: missing('dnsperf') }, async (t) => {
  const lab = await startLab(t)
  const { gateway, holdings } = lab
  const resetting = await startResetting(holdings, gateway.dot)
  const steady = perf(lab, gateway.dot, STEADY_S, '-c', '50')
  const unlucky = perf(lab, resetting, STEADY_S - 1, '-c', '10', '-t', '1')
  await Promise.race([reload(lab, 3), steady.then(() => assert.fail('the reloads took longer than the queries'))])
  const { code, text } = await steady
  assert.equal(code, 0, text)
  assert.match(text, /Queries lost: +0 /, text)
  assert.match(text, /NOERROR \d+ \(100\.00%\)/, text)
  assert.match(text, /Reconnections: +0\b/, text)
  const broken = await unlucky
  assert.match(broken.text, /Reconnections: +[1-9]\d/, broken.text)
  assert.match(broken.text, /NOERROR \d+ \(100\.00%\)/, broken.text)
  const deadline = Date.now() + GIVEN_BACK_WITHIN_MS
  while (await holdsAny(gateway)) assert.ok(Date.now() < deadline, 'what was reset is still held')
  assert.equal(await metric(gateway, 'atlas_worker_restarts_total'), 0)
})
