import 'reflect-metadata'
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import * as x509 from '@peculiar/x509'
import type { AcmeIdentifier, Challenge } from '../../certs/acme/challenge.ts'
import type { Endpoint } from '../../net/address.ts'

const IDENTIFIER_OID = '1.3.6.1.5.5.7.1.31'
const ALTERNATIVE_NAME_OID = '2.5.29.17'

/** As a CA makes them, for a name or an address. */
export function challengeFor(value: string, type: AcmeIdentifier['type'] = 'dns'): Challenge {
  const token = randomBytes(16).toString('base64url')
  return { identifier: { type, value }, token, keyAuthorization: `${token}.${randomBytes(32).toString('base64url')}` }
}

/** What a CA is shown; null: it gets alert 120, no_application_protocol. */
export type Shown = x509.X509Certificate | null

/** Looks at a server as a CA does (RFC 8737 §3), and makes sure that it says nothing and ends the connection. */
export async function look({ host, port }: Endpoint, serverName: string, options: ConnectionOptions = {}): Promise<Shown> {
  const socket = connect({ host, port, servername: serverName, ALPNProtocols: ['acme-tls/1'], rejectUnauthorized: false, ...options })
  return shownOn(socket)
}

export async function shownOn(socket: TLSSocket): Promise<Shown> {
  try {
    await once(socket, 'secureConnect')
  } catch (error) {
    assert.match((error as Error).message, /alert number 120/)
    return null
  }
  assert.equal(socket.alpnProtocol, 'acme-tls/1')
  const { raw } = socket.getPeerCertificate()
  const said: Buffer[] = []
  socket.on('data', (chunk: Buffer) => said.push(chunk))
  socket.on('error', () => {})
  // a client that goes on talking
  socket.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n')
  await once(socket, 'close')
  assert.equal(Buffer.concat(said).length, 0)
  return new x509.X509Certificate(raw)
}

/** Asserts what RFC 8737 §3 and RFC 8738 §6 say of the certificate. */
export async function assertProves(shown: Shown, { identifier, keyAuthorization }: Challenge): Promise<void> {
  assert.ok(shown !== null, `nothing is shown for ${identifier.value}`)
  assert.deepEqual(shown.extensions.map(({ type }) => type).toSorted(), [IDENTIFIER_OID, ALTERNATIVE_NAME_OID].toSorted())
  const names = shown.getExtension(x509.SubjectAlternativeNameExtension)
  assert.deepEqual(names?.names.toJSON(), [identifier])
  const proof = shown.getExtension(IDENTIFIER_OID)
  assert.equal(proof?.critical, true)
  const digest = createHash('sha256').update(keyAuthorization).digest('hex')
  assert.equal(Buffer.from(proof.value).toString('hex'), `0420${digest}`)
  assert.equal(shown.subject, shown.issuer)
  assert.ok(await shown.verify({ publicKey: shown.publicKey, signatureOnly: true }), 'self-signed')
}
