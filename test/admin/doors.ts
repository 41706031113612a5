import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import type { TestContext } from 'node:test'
import { pino } from 'pino'
import { DOOR_TIMES, type DoorTimes } from '../../gateway/admin/door.ts'
import { AdminDoors } from '../../gateway/admin/doors.ts'
import type { GuardSettings } from '../../gateway/admin/guard.ts'
import { temporaryDirectory } from '../harness/temporary.ts'
import { FakeControl } from './control.ts'

export const TOKEN = 'correct-horse-battery-staple'
export const BEARER = `Authorization: Bearer ${TOKEN}\r\n`
export const ANY_PORT = { host: '127.0.0.1', port: 0 }

/** What a server sent on one connection until it ended. */
export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** All of it, octet by octet. */
  readonly text: string
}

export interface OpenDoors {
  readonly control: FakeControl
  readonly doors: AdminDoors
  readonly socketPath: string
  /** Everything logged so far. */
  readonly log: () => string
  /** Time as the guard knows it. */
  readonly time: { now: number }
  /** Sends these octets to a door and waits for the end of the connection. */
  readonly socket: (octets: string) => Promise<Reply>
  readonly tcp: (octets: string) => Promise<Reply>
  readonly connectSocket: () => Socket
  readonly connectTcp: () => Socket
}

export interface DoorOptions extends Partial<GuardSettings> {
  readonly times?: Partial<DoorTimes>
}

/** Both doors, open until the test ends. */
export async function openDoors(t: TestContext, { token = TOKEN, hosts = [], times = {} }: DoorOptions = {}): Promise<OpenDoors> {
  const control = new FakeControl()
  const lines: string[] = []
  const log = pino(new Writable({ write: (chunk, _, done) => done(void lines.push(String(chunk)) as undefined) }))
  const time = { now: 1_000_000 }
  const doors = new AdminDoors(control, log, { clock: () => time.now, times: { ...DOOR_TIMES, ...times } })
  t.after(() => doors.close())
  const socketPath = join(temporaryDirectory(t), 'admin.sock')
  await doors.openSocket(socketPath)
  await doors.reconfigure({ endpoint: ANY_PORT, token, hosts })
  const connectSocket = () => connect(socketPath)
  const connectTcp = () => connect(doors.endpoint?.port ?? 0, '127.0.0.1')
  return {
    control,
    doors,
    socketPath,
    log: () => lines.join(''),
    time,
    socket: (octets) => converse(connectSocket(), octets),
    tcp: (octets) => converse(connectTcp(), octets),
    connectSocket,
    connectTcp,
  }
}

/** A request without content that ends its connection. */
export function ask(line: string, fields = ''): string {
  return `${line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${fields}\r\n`
}

export async function converse(socket: Socket, octets: string): Promise<Reply> {
  const reading = new Reading(socket)
  socket.write(Buffer.from(octets, 'latin1'))
  return replyOf(await reading.toEnd())
}

/** What comes on a connection, kept until somebody wants to see it. */
export class Reading {
  readonly socket: Socket
  readonly #closed: Promise<null>
  #text = ''

  constructor(socket: Socket) {
    this.socket = socket
    socket.setEncoding('utf8').on('data', (text: string) => {
      this.#text += text
    })
    // a connection that is reset has ended too
    socket.on('error', () => {})
    this.#closed = new Promise((resolve) => socket.once('close', () => resolve(null)))
  }

  /** What has come since the last time, when `pattern` is in it. */
  async until(pattern: RegExp): Promise<string> {
    while (!pattern.test(this.#text)) {
      const more = await Promise.race([new Promise((resolve) => this.socket.once('data', resolve)), this.#closed])
      assert.ok(more !== null || pattern.test(this.#text), `expected ${pattern}: received the end after ${this.#text}`)
    }
    return this.#take()
  }

  /** All that comes until the connection ends. */
  async toEnd(): Promise<string> {
    await this.#closed
    return this.#take()
  }

  #take(): string {
    const text = this.#text
    this.#text = ''
    return text
  }
}

function replyOf(text: string): Reply {
  const [head = '', ...rest] = text.split('\r\n\r\n')
  const [line = '', ...fields] = head.split('\r\n')
  const headers = Object.fromEntries(
    fields.map((field) => [field.slice(0, field.indexOf(':')).toLowerCase(), field.slice(field.indexOf(':') + 2)]),
  )
  const body = rest.join('\r\n\r\n')
  return { status: Number(line.split(' ')[1] ?? 0), headers, body: headers['transfer-encoding'] === 'chunked' ? unchunk(body) : body, text }
}

/** RFC 9112 §7.1. */
function unchunk(body: string): string {
  let octets = Buffer.from(body)
  const chunks: Buffer[] = []
  for (;;) {
    const end = octets.indexOf('\r\n')
    const length = Number.parseInt(octets.subarray(0, end).toString(), 16)
    if (!(length > 0)) return Buffer.concat(chunks).toString()
    chunks.push(octets.subarray(end + 2, end + 2 + length))
    octets = octets.subarray(end + 4 + length)
  }
}
