import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { type ClientHttp2Session, connect as http2Connect } from 'node:http2'
import { request as httpsRequest } from 'node:https'
import { type Socket, connect as tcpConnect } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import { Deframer } from '../../net/framing.ts'
import type { TestGateway } from './gateway.ts'
import { doh3, sendDoq } from './quic.ts'
import { frame } from './servers.ts'

/** What came of one message. */
export type Reaction =
  | { readonly kind: 'answer'; readonly message: Buffer }
  /** No datagram came before the answer to the next query. */
  | { readonly kind: 'silence' }
  /** The connection ended without an answer. */
  | { readonly kind: 'closed' }
  | { readonly kind: 'status'; readonly status: number }

export interface TestClient {
  readonly name: string
  /** Sends one message on a connection of its own. */
  send(gateway: TestGateway, message: Uint8Array): Promise<Reaction>
}

/** A query that every gateway of these tests answers: localhost A. */
const PROBE = Buffer.from('ffff01000001000000000000096c6f63616c686f73740000010001', 'hex')

async function sendUdp({ dns }: TestGateway, message: Uint8Array): Promise<Reaction> {
  const socket = createSocket('udp4')
  try {
    socket.connect(dns.port, dns.host)
    await once(socket, 'connect')
    socket.send(message)
    // datagrams on loopback keep their order: if the probe's answer comes first, the message got none
    const first = once(socket, 'message')
    if (message.length < 12 || ((message[2] ?? 0) & 0x80) !== 0) socket.send(PROBE)
    const [reply] = (await first) as [Buffer]
    return reply.readUInt16BE(0) === 0xffff ? { kind: 'silence' } : { kind: 'answer', message: reply }
  } finally {
    socket.close()
  }
}

export async function exchange(socket: Socket, message: Uint8Array): Promise<Reaction> {
  const deframer = new Deframer()
  const reaction = new Promise<Reaction>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      deframer.push(chunk)
      const reply = deframer.next()
      if (reply !== null) resolve({ kind: 'answer', message: Buffer.from(reply) })
    })
    socket.on('error', () => resolve({ kind: 'closed' }))
    socket.on('close', () => resolve({ kind: 'closed' }))
    socket.on('end', () => socket.end())
  })
  socket.write(frame(message))
  const result = await reaction
  socket.destroy()
  return result
}

export async function openTcp({ dns }: TestGateway): Promise<Socket> {
  const socket = tcpConnect(dns.port, dns.host)
  await once(socket, 'connect')
  return socket
}

export async function openTls({ dot, ca, credentials }: TestGateway): Promise<Socket> {
  const socket = tlsConnect({ host: dot.host, port: dot.port, servername: 'localhost', ca, ...credentials, ALPNProtocols: ['dot'] })
  await once(socket, 'secureConnect')
  return socket
}

export interface DohRequest {
  readonly method?: string
  readonly path?: string
  readonly headers?: Record<string, string>
  readonly body?: Uint8Array
}

export interface DohResponse {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly body: Buffer
}

const POST_HEADERS = { 'content-type': 'application/dns-message' }

export type DohClient = (gateway: TestGateway, request: DohRequest) => Promise<DohResponse>

/** A session of Node's own HTTP/2 client, for the host `name`. */
export function openHttp2({ doh, ca, credentials }: TestGateway, name = 'localhost'): ClientHttp2Session {
  return http2Connect(`https://${name}:${doh.port}`, {
    ca,
    ...credentials,
    host: doh.host,
    lookup: (_host, _options, done) => done(null, [{ address: doh.host, family: 4 }]),
  })
}

export const doh2: DohClient = async (gateway, { method = 'GET', path = '/dns-query', headers = {}, body }) => {
  const session = openHttp2(gateway)
  try {
    const stream = session.request({ ':method': method, ':path': path, ...headers }, { endStream: body === undefined })
    if (body !== undefined) stream.end(body)
    const [answer] = (await once(stream, 'response')) as [Record<string, string | string[] | undefined>]
    const chunks: Buffer[] = []
    for await (const chunk of stream) chunks.push(chunk as Buffer)
    return { status: Number(answer[':status']), headers: answer, body: Buffer.concat(chunks) }
  } finally {
    session.destroy()
  }
}

export const doh1: DohClient = async ({ doh, ca, credentials }, { method = 'GET', path = '/dns-query', headers = {}, body }) => {
  const request = httpsRequest({
    host: doh.host,
    port: doh.port,
    servername: 'localhost',
    ca,
    ...credentials,
    method,
    path,
    headers: { host: `localhost:${doh.port}`, ...(body === undefined ? {} : { 'content-length': String(body.length) }), ...headers },
    agent: false,
  })
  request.on('error', () => {})
  request.end(body)
  const [response] = (await once(request, 'response')) as [import('node:http').IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }
}

/** DNS over HTTPS on TCP, by version. */
export const DOH_TCP_CLIENTS = [
  ['HTTP/1.1', doh1],
  ['HTTP/2', doh2],
] as const
/** DNS over HTTPS, by version. */
export const DOH_CLIENTS = [...DOH_TCP_CLIENTS, ['HTTP/3', doh3]] as const

function dohReaction({ status, body }: DohResponse): Reaction {
  return status === 200 ? { kind: 'answer', message: body } : { kind: 'status', status }
}

const post = (client: DohClient) => async (gateway: TestGateway, body: Uint8Array) =>
  dohReaction(await client(gateway, { method: 'POST', headers: POST_HEADERS, body }))

export const CLIENTS: readonly TestClient[] = [
  { name: 'udp', send: sendUdp },
  { name: 'tcp', send: async (gateway, message) => exchange(await openTcp(gateway), message) },
  { name: 'dot', send: async (gateway, message) => exchange(await openTls(gateway), message) },
  { name: 'doh1', send: post(doh1) },
  { name: 'doh2', send: post(doh2) },
  { name: 'doh3', send: post(doh3) },
  { name: 'doq', send: sendDoq },
  {
    name: 'doh2 by GET',
    send: async (gateway, message) =>
      dohReaction(await doh2(gateway, { path: `/dns-query?dns=${Buffer.from(message).toString('base64url')}` })),
  },
]
