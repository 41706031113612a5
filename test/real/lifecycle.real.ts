import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect as http2Connect } from 'node:http2'
import { type Socket, connect as tcpConnect } from 'node:net'
import test from 'node:test'
import { connect as tlsConnect } from 'node:tls'
import { Deframer } from '../../net/framing.ts'
import { question } from '../harness/messages.ts'
import { type Finished, missing, run } from '../harness/real.ts'
import { frame } from '../harness/servers.ts'
import { ADDRESS, type Lab, NAMES, type RealGateway, startLab } from './lab.ts'

const RAW = { skip: missing() }
const PIPELINED = 1000
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

test('1,000 queries at once on one connection are all answered, over TLS and over HTTP/2', RAW, async (t) => {
  const lab = await startLab(t)
  await assertPipelined(lab)
  await assertConcurrent(lab)
})

test('a slow answer holds up no other of the same connection', RAW, async (t) => {
  const { gateway, holdings, slow } = await startLab(t)
  const socket = await openDot(gateway)
  holdings.defer(() => socket.destroy())
  const answers = answersOf(socket)
  socket.write(frame(question({ name: NAMES.slow, id: 1 })))
  await slow.asked
  socket.write(frame(question({ name: NAMES.www, id: 2 })))
  assertAnswers(await nextAnswer(answers), 2)
  slow.release()
  assertAnswers(await nextAnswer(answers), 1)
})

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
