import 'reflect-metadata'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import type { IncomingMessage, RequestListener } from 'node:http'
import { createSecureServer } from 'node:http2'
import { createServer as createHttps } from 'node:https'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { createServer as createTls, type TLSSocket } from 'node:tls'
import * as x509 from '@peculiar/x509'

/** PEM. */
export interface Identity {
  readonly cert: string
  readonly key: string
}

/** A throw-away key and a certificate that it signed itself, for `localhost` and 127.0.0.1. */
export async function selfSigned(): Promise<Identity> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=throw-away',
    keys,
    signingAlgorithm: algorithm,
    notAfter: new Date(Date.now() + 3_600_000),
    extensions: [
      new x509.SubjectAlternativeNameExtension([
        { type: 'dns', value: 'localhost' },
        { type: 'ip', value: '127.0.0.1' },
      ]),
    ],
  })
  const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64')
  return { cert: certificate.toString('pem'), key: `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n` }
}

/** What to send back, each element by itself: a datagram on UDP, a chunk on streams. */
export type Responder = (query: Buffer) => readonly Buffer[]

/** All of these listen on 127.0.0.1 and end with the test; they return the port. */
export async function udpServer(t: TestContext, respond: Responder, port = 0): Promise<number> {
  const socket = createSocket('udp4')
  socket.on('message', (query, { port: back, address }) => {
    for (const datagram of respond(query)) socket.send(datagram, back, address)
  })
  socket.bind(port, '127.0.0.1')
  await once(socket, 'listening')
  t.after(() => socket.close())
  return socket.address().port
}

/** `respond` gets the message behind its length prefix; what it returns is sent as it is. */
export function tcpServer(t: TestContext, respond: Responder): Promise<number> {
  return listen(
    t,
    createServer({ noDelay: true }, (socket) => serveStream(socket, respond)),
  )
}

export function tlsServer(
  t: TestContext,
  identity: Identity,
  respond: (query: Buffer, socket: TLSSocket) => readonly Buffer[],
): Promise<number> {
  return listen(
    t,
    createTls({ ...identity, ALPNProtocols: ['dot'] }, (socket) => serveStream(socket, (query) => respond(query, socket))),
  )
}

export interface HttpAnswer {
  readonly status?: number
  readonly type?: string
  readonly body: Buffer
}

/** Null: no answer at all. */
export type HttpResponder = (request: IncomingMessage, content: Buffer) => HttpAnswer | null

/** HTTP/2 with HTTP/1.1 beside it. */
export function http2Server(t: TestContext, identity: Identity, respond: HttpResponder): Promise<number> {
  // the compatibility API gives both versions the same shape
  return listen(
    t,
    createSecureServer({ ...identity, allowHTTP1: true }, serveHttp(respond) as unknown as Parameters<typeof createSecureServer>[1]),
  )
}

export function http1Server(t: TestContext, identity: Identity, respond: HttpResponder): Promise<number> {
  return listen(t, createHttps(identity, serveHttp(respond)))
}

/** A message behind its length. */
export function framed(message: Buffer): Buffer {
  return Buffer.concat([Buffer.of(message.length >> 8, message.length & 0xff), message])
}

function serveHttp(respond: HttpResponder): RequestListener {
  return async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const answer = respond(request, Buffer.concat(chunks))
    if (answer === null) return
    const { status = 200, type = 'application/dns-message', body } = answer
    response.writeHead(status, { 'content-type': type })
    response.end(body)
  }
}

function serveStream(socket: Socket, respond: Responder): void {
  socket.on('error', () => {})
  socket.once('data', (chunk: Buffer) => {
    const chunks = respond(chunk.subarray(2))
    if (chunks.length === 0) socket.end()
    for (const part of chunks) socket.write(part)
  })
}

async function listen(t: TestContext, server: Server | ReturnType<typeof createSecureServer>): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket))
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}
