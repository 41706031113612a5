import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { connect } from 'node:tls'
import type { CertificateConfig } from '../../gateway/config/config.ts'
import { issue } from '../certs/issue.ts'
import { handshake } from '../certs/sessions.ts'
import { runGateway, type TestGateway, TLS } from '../harness/gateway.ts'
import { askAt, MUST_STAPLE, ocspResponder, ocspResponse } from '../harness/ocsp-responder.ts'
import { temporaryDirectory } from '../harness/temporary.ts'

const root = await issue({ subject: 'CN=test root', isCa: true })

/** The files of a certificate that wants a staple of this responder. */
async function filesFor(t: TestContext, url: string): Promise<CertificateConfig> {
  const directory = temporaryDirectory(t)
  const { certPem, keyPem } = await issue({ issuer: root, names: ['leaf.test'], extensions: [askAt(url), MUST_STAPLE] })
  const files = { cert: join(directory, 'chain.pem'), key: join(directory, 'key.pem'), origin: 'test' }
  writeFileSync(files.cert, certPem + root.certPem)
  writeFileSync(files.key, keyPem)
  return files
}

/** What a client is shown over DoT (`dot`) or DoH; null: nothing. */
async function shownBy({ dot, doh }: TestGateway, isDot: boolean): Promise<Buffer | null> {
  const { port } = isDot ? dot : doh
  const socket = connect({ host: '127.0.0.1', port, servername: 'leaf.test', ca: root.certPem, requestOCSP: true })
  let shown: Buffer | null = null
  socket.on('OCSPResponse', (response: Buffer | null) => {
    shown = response
  })
  await once(socket, 'secureConnect')
  socket.destroy()
  return shown
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await turn()
}

test('clients that ask are shown the responder’s word, sessions are resumed all the same', async (t) => {
  await using responder = await ocspResponder()
  let response: Buffer | null = null
  responder.answer = (request) => {
    response = ocspResponse(request, { signer: root })
    return response
  }
  const tls = { ...TLS, certificates: [await filesFor(t, responder.url)] }
  await using gateway = await runGateway([], { tls })
  await until(async () => (await shownBy(gateway, true)) !== null)
  for (const isDot of [true, false]) assert.deepEqual(await shownBy(gateway, isDot), response)
  const client = { port: gateway.dot.port, servername: 'leaf.test', ca: root.certPem, requestOCSP: true }
  const { session } = await handshake(client)
  assert.equal((await handshake({ ...client, session })).isReused, true)
  assert.equal(responder.requests.length, 1)
})

test('a certificate that is revoked, or that wants what is missing, is an error and an event', async (t) => {
  await using responder = await ocspResponder()
  responder.answer = () => 500
  const tls = { ...TLS, certificates: [await filesFor(t, responder.url)] }
  await using gateway = await runGateway([], { tls })
  const said = (message: string) => gateway.log.map((line) => JSON.parse(line)).find(({ msg }) => msg === message)
  const refused = 'a certificate wants an OCSP response beside it, and there is none: clients refuse it'
  await until(() => said(refused) !== undefined)
  const { level, name, reason } = said(refused)
  assert.deepEqual([level, name, reason], [50, 'leaf.test', `Cannot staple: expected status 200: received 500: ${responder.url}`])
  responder.answer = (request) => ocspResponse(request, { signer: root, status: 'revoked' })
  await gateway.reload({ tls: { ...TLS, certificates: [await filesFor(t, responder.url)] } })
  const revoked = 'the CA has revoked a certificate: clients refuse it, another one is needed'
  await until(() => said(revoked) !== undefined)
  assert.equal(said(revoked).name, 'leaf.test')
  assert.equal(await shownBy(gateway, true), null)
})
