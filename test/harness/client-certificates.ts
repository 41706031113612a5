import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls'
import type { ListenConfig } from '../../gateway/config/config.ts'
import type { Endpoint } from '../../net/address.ts'
import { issue, type TestCertificate } from '../certs/issue.ts'
import { exchange, type Reaction } from './clients.ts'
import type { TestGateway } from './gateway.ts'
import { question } from './messages.ts'
import { ANYWHERE } from './reload.ts'

export const QUERY = question({ name: 'www.example.com', opt: '' })
const CLIENT_AUTH = ['1.3.6.1.5.5.7.3.2']

export const root = await issue({ isCa: true, subject: 'CN=clients' })
export const otherRoot = await issue({ isCa: true, subject: 'CN=other clients' })
export const alice = await issue({ names: ['alice.example'], usage: CLIENT_AUTH, issuer: root })
export const dave = await issue({ subject: 'CN=dave', issuer: otherRoot })

const directory = mkdtempSync(join(tmpdir(), 'atlas-test-'))
after(() => rmSync(directory, { recursive: true }))

/** The path of a file, until the tests end. */
export function pathOf(name: string): string {
  return join(directory, name)
}

export function write(name: string, content: string): string {
  writeFileSync(pathOf(name), content)
  return pathOf(name)
}

/** A file of certificates. */
export function writeRoots(name: string, ...certificates: readonly TestCertificate[]): string {
  return write(name, certificates.map(({ certPem }) => certPem).join(''))
}

export const ROOT_FILE = writeRoots('root.pem', root)
export const OTHER_FILE = writeRoots('other.pem', otherRoot)

/** A listener that asks for certificates below those in `file`. */
export function wanting(file: string): ListenConfig {
  return { ...ANYWHERE, clientCa: { file, origin: 'atlas.yaml:3:5' } }
}

export function credentialsOf({ certPem, keyPem }: TestCertificate, ...chain: readonly TestCertificate[]) {
  return { cert: [certPem, ...chain.map((each) => each.certPem)].join(''), key: keyPem }
}

/** The same gateway for clients that show this. */
export function showing(gateway: TestGateway, ...[certificate, ...chain]: [TestCertificate, ...TestCertificate[]]): TestGateway {
  return { ...gateway, credentials: credentialsOf(certificate, ...chain) }
}

export interface Visit {
  readonly reaction: Reaction
  readonly isResumed: boolean
  /** What it can be resumed with. */
  readonly session: Buffer | undefined
}

/** Asks over TLS at one of several listeners. */
export async function visit({ ca }: TestGateway, { host, port }: Endpoint, options: ConnectionOptions): Promise<Visit> {
  const socket = tlsConnect({ host, port, servername: 'localhost', ca, ...options })
  let session: Buffer | undefined
  let isResumed = false
  socket.on('session', (ticket) => (session = ticket))
  socket.on('secureConnect', () => (isResumed = socket.isSessionReused()))
  const reaction = await exchange(socket, QUERY)
  return { reaction, isResumed, session }
}

/** How a handshake with these options ends: with an alert, or just so. */
export async function refusal({ ca }: TestGateway, { host, port }: Endpoint, options: ConnectionOptions): Promise<string | null> {
  const socket = tlsConnect({ host, port, servername: 'localhost', ca, ...options })
  return new Promise((resolve) => {
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''))
    socket.on('close', () => resolve(null))
    socket.on('end', () => socket.end()).resume()
  })
}
