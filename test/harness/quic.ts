import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import type { Endpoint } from '../../net/address.ts'
import { monotonicClock } from '../../net/clock.ts'
import { type Field, NO_CONTENT_LENGTH } from '../../net/fields.ts'
import { Flusher } from '../../net/flusher.ts'
import { Deframer } from '../../net/framing.ts'
import type { Http3Response } from '../../net/http3/fields.ts'
import { type MessageHandler, MessageReader, RESPONSE } from '../../net/http3/message-reader.ts'
import { encodeMessage } from '../../net/http3/message-writer.ts'
import { CONTROL_PREAMBLE } from '../../net/http3/own-control.ts'
import { createQuicEngine } from '../../net/quic/load.ts'
import {
  FIRST_CLIENT_UNIDIRECTIONAL,
  type QuicClientConnection,
  type QuicClientHandler,
  type QuicCloseReason,
  type QuicEngine,
} from '../../net/quic.ts'
import { Wheel } from '../../net/wheel.ts'
import type { DohClient, Reaction } from './clients.ts'
import type { TestGateway } from './gateway.ts'
import { frame } from './servers.ts'

let made: QuicEngine | null = null

/** The engine on which the clients of the tests run. */
export function engine(): QuicEngine {
  if (made !== null) return made
  const keys = mkdtempSync(join(tmpdir(), 'atlas-quic-'))
  process.on('exit', () => rmSync(keys, { recursive: true, force: true }))
  const created = createQuicEngine(keys, { clock: monotonicClock, wheel: new Wheel(monotonicClock), flusher: new Flusher() })
  if ('unavailable' in created) throw new Error(`Cannot test QUIC: ${created.unavailable}`)
  made = created
  return made
}

/** What came on one stream. */
export interface StreamRecord {
  bytes: Buffer
  fin: boolean
  reset: boolean
  /** The application error code of the reset; 0 when it is unknown. */
  code: number
}

/** A client that notes what comes, and can do everything wrong. */
export class QuicTestClient implements QuicClientHandler, AsyncDisposable {
  readonly streams = new Map<number, StreamRecord>()
  readonly ready = Promise.withResolvers<void>()
  readonly ended = Promise.withResolvers<QuicCloseReason>()
  readonly unopenedStreams: number[] = []
  readonly tickets: Buffer[] = []
  connection!: QuicClientConnection
  readonly #waiters = new Set<() => void>()

  established(): void {
    this.ready.resolve()
  }

  received(stream: number, bytes: Uint8Array, fin: boolean): void {
    const record = this.record(stream)
    record.bytes = Buffer.concat([record.bytes, bytes])
    record.fin ||= fin
    this.#notify()
  }

  reset(stream: number, code: number): void {
    const record = this.record(stream)
    record.reset = true
    record.code = code
    this.#notify()
  }

  unopened(stream: number): void {
    this.unopenedStreams.push(stream)
    this.#notify()
  }

  ticket(bytes: Uint8Array): void {
    this.tickets.push(Buffer.from(bytes))
  }

  stalled(): void {}

  closed(reason: QuicCloseReason): void {
    this.ready.reject(new Error(`closed with ${reason.code} ${reason.text}`))
    this.ready.promise.catch(() => {})
    this.ended.resolve(reason)
    this.#notify()
  }

  record(stream: number): StreamRecord {
    const record = this.streams.get(stream) ?? { bytes: Buffer.alloc(0), fin: false, reset: false, code: 0 }
    this.streams.set(stream, record)
    return record
  }

  /** Opens a stream and sends on it. */
  send(bytes: Uint8Array, fin = true): number {
    const stream = this.connection.openStream()
    this.connection.send(stream, bytes, fin)
    return stream
  }

  /** As send(), on a stream that may turn out not to have been opened; not beside send(). */
  sendNext(bytes: Uint8Array, fin = true): number {
    const stream = this.connection.nextStream()
    if (stream >= 0) this.connection.send(stream, bytes, fin)
    return stream
  }

  /** As send(); -1 while the server gives no credit for another stream. */
  trySend(bytes: Uint8Array, fin = true): number {
    try {
      return this.send(bytes, fin)
    } catch {
      return -1
    }
  }

  /** As send(), as soon as the server gives credit for another stream. */
  async sendSoon(bytes: Uint8Array, fin = true): Promise<number> {
    for (;;) {
      const stream = this.trySend(bytes, fin)
      if (stream >= 0) return stream
      await turn()
    }
  }

  /** Resolves when the stream is over or `enough` says so; null when the connection ended first. */
  async over(stream: number, enough: (record: StreamRecord) => boolean = () => false): Promise<StreamRecord | null> {
    let isClosed = false
    void this.ended.promise.then(() => {
      isClosed = true
      this.#notify()
    })
    for (;;) {
      const record = this.record(stream)
      if (record.fin || record.reset || enough(record)) return record
      if (isClosed) return null
      await new Promise<void>((resolve) => this.#waiters.add(resolve))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.connection.close(0)
    await this.connection.destroy()
  }

  #notify(): void {
    for (const waiter of this.#waiters) waiter()
    this.#waiters.clear()
  }
}

export interface DialTo {
  readonly endpoint: Endpoint
  readonly ca: string
  readonly protocol: string
  readonly window?: number
  readonly serverName?: string
}

export async function dialQuic({ endpoint, ca, protocol, window = 1_048_576, serverName = 'localhost' }: DialTo): Promise<QuicTestClient> {
  const client = new QuicTestClient()
  client.connection = await engine().dial(
    { endpoint, protocol, serverName, roots: ca, limits: { idleMs: 10_000, streams: 100, window } },
    () => client,
  )
  return client
}

export async function openDoq({ doq, ca }: TestGateway): Promise<QuicTestClient> {
  const client = await dialQuic({ endpoint: doq, ca, protocol: 'doq' })
  await client.ready.promise
  return client
}

/** Without its control stream. */
export async function openBareHttp3({ doh, ca }: TestGateway): Promise<QuicTestClient> {
  const client = await dialQuic({ endpoint: doh, ca, protocol: 'h3' })
  await client.ready.promise
  return client
}

/** With its control stream open, as RFC 9114 §6.2.1 wants it. */
export async function openHttp3(gateway: TestGateway): Promise<QuicTestClient> {
  const client = await openBareHttp3(gateway)
  client.connection.send(FIRST_CLIENT_UNIDIRECTIONAL, CONTROL_PREAMBLE, false)
  return client
}

type Open = (gateway: TestGateway) => Promise<QuicTestClient>

/** Connections that are still open: starting and ending the library's thread takes longer than a whole exchange. */
const open = new WeakMap<TestGateway, Map<Open, QuicTestClient>>()

async function shared(gateway: TestGateway, how: Open): Promise<QuicTestClient> {
  const ofGateway = open.get(gateway) ?? new Map<Open, QuicTestClient>()
  open.set(gateway, ofGateway)
  const present = ofGateway.get(how)
  if (present !== undefined) return present
  const client = await how(gateway)
  ofGateway.set(how, client)
  void client.ended.promise.then(() => {
    ofGateway.delete(how)
    void client.connection.destroy()
  })
  return client
}

/** RFC 9250 §4.2.1 wants id 0, whatever the message has; the reply gets the message's own back. */
export async function sendDoq(gateway: TestGateway, message: Uint8Array): Promise<Reaction> {
  const client = await shared(gateway, openDoq)
  const sent = Buffer.from(message)
  sent.fill(0, 0, Math.min(2, sent.length))
  const record = await client.over(client.send(frame(sent)))
  const deframer = new Deframer()
  deframer.push(record?.bytes ?? Buffer.alloc(0))
  const answer = deframer.next()
  if (answer === null || record?.fin !== true || deframer.hasRest) return { kind: 'closed' }
  const reply = Buffer.from(answer)
  if (reply.readUInt16BE(0) !== 0) return { kind: 'closed' }
  Buffer.from(message).copy(reply, 0, 0, 2)
  return { kind: 'answer', message: reply }
}

export function requestFields({
  method,
  path,
  headers,
  port,
}: {
  method: string
  path: string
  headers: Record<string, string>
  port: number
}): Field[] {
  return [
    [':method', method],
    [':scheme', 'https'],
    [':authority', headers.host ?? headers[':authority'] ?? `localhost:${port}`],
    [':path', path],
    ...Object.entries(headers).filter(([name]) => name !== 'host' && name !== ':authority'),
  ]
}

export interface ReadResponse {
  status: number
  headers: Record<string, string>
  body: Buffer
}

/** A HEADERS frame with a request for us. */
export function http3Request(method: string, path: string, ...more: Field[]): Buffer {
  return encodeMessage([...requestFields({ method, path, headers: { host: 'localhost' }, port: 0 }), ...more], Buffer.alloc(0))
}

/** The whole response on a stream; rejects when there is none. */
export async function http3Response(client: QuicTestClient, stream: number): Promise<ReadResponse> {
  const record = await client.over(stream)
  if (record?.fin !== true) throw new Error(record === null ? 'the connection has ended' : `reset with 0x${record.code.toString(16)}`)
  return readHttp3Response(record)
}

/** Reads a whole response from what came on a stream. */
export function readHttp3Response({ bytes, fin }: StreamRecord, method = 'GET'): ReadResponse {
  const result: ReadResponse = { status: 0, headers: {}, body: Buffer.alloc(0) }
  const handler: MessageHandler<Http3Response> = {
    onHeaders: (response) => {
      result.status = response.status
      for (const name of RESPONSE_FIELDS) {
        const value = response.fields.get(name)
        if (value !== null) result.headers[name] = value
      }
    },
    onHeadersTooLarge: () => {},
    onData: (chunk) => {
      result.body = Buffer.concat([result.body, chunk])
    },
    onEnd: () => {},
  }
  // RFC 9110 §9.3.2: the content-length is that of the response to GET
  const read: typeof RESPONSE.read = (lines) => {
    const response = RESPONSE.read(lines)
    return response === null || method !== 'HEAD' ? response : { ...response, contentLength: NO_CONTENT_LENGTH }
  }
  const error = new MessageReader({ ...RESPONSE, read }, handler).push(bytes, fin)
  if (error !== null) throw new Error(`Cannot read HTTP/3 response: error ${error.code.toString(16)}`)
  return result
}

const RESPONSE_FIELDS = [
  'content-type',
  'content-length',
  'cache-control',
  'date',
  'allow',
  'accept',
  'accept-encoding',
  'retry-after',
  'age',
  'alt-svc',
  'x-content-type-options',
  'content-security-policy',
]

export const doh3: DohClient = async (gateway, { method = 'GET', path = '/dns-query', headers = {}, body }) => {
  const client = await shared(gateway, openHttp3)
  const fields = requestFields({ method, path, headers, port: gateway.doh.port })
  const record = await client.over(client.send(encodeMessage(fields, body ?? Buffer.alloc(0))))
  if (record === null || record.reset) throw new Error('closed')
  return readHttp3Response(record, method)
}
