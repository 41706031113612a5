import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import type { Endpoint } from '../../net/address.ts'
import { createServer } from '../../net/http.ts'
import { bindServer, closeServer } from '../../net/listen.ts'
import type { EventFeed } from './events.ts'
import { Followers } from './followers.ts'
import type { Guard } from './guard.ts'
import { type Refusal, sendRefusal } from './refusal.ts'
import { readTarget } from './target.ts'
import { bindSocket } from './unix-socket.ts'

/** A scraper, a few probes, a few people; nobody else has business here. */
const MAX_CONNECTIONS = 32
/** Nothing here is said in a body: it is read so that the connection can be used again, and thrown away. */
const MAX_BODY_OCTETS = 65_536

export interface DoorTimes {
  /** For the header section, for the whole request, for the next one, and for a reader who takes nothing. */
  readonly timeoutMs: number
  /** How often Node looks for requests that take too long; by default only every 30 s. */
  readonly checkMs: number
  /** For what was asked through an address that is given up: that may be the reload that gives it up. */
  readonly retirementMs: number
}

export const DOOR_TIMES: DoorTimes = { timeoutMs: 5_000, checkMs: 1_000, retirementMs: 10_000 }

/** Answers the requests of a door: what the app makes of them. */
export type DoorListener = (request: IncomingMessage, response: ServerResponse) => Promise<void>

export interface DoorParts {
  /** Null: everybody who can connect may do everything. */
  readonly guard: Guard | null
  readonly feed: EventFeed
  readonly log: Logger
  /** Gets what is expensive to load; called with the first request. */
  readonly load: (door: Door) => Promise<DoorListener>
  readonly times: DoorTimes
}

/** One HTTP server with its limits. */
export class Door {
  readonly followers: Followers
  readonly #server: Server
  readonly #log: Logger
  readonly #load: DoorParts['load']
  readonly #times: DoorTimes
  #guard: Guard | null
  #listener: Promise<DoorListener> | null = null
  #retired = false

  constructor({ guard, feed, log, load, times }: DoorParts) {
    this.followers = new Followers(feed)
    this.#guard = guard
    this.#log = log
    this.#load = load
    this.#times = times
    const { timeoutMs, checkMs } = times
    this.#server = createServer({
      headersTimeout: timeoutMs,
      requestTimeout: timeoutMs,
      keepAliveTimeout: timeoutMs,
      connectionsCheckingInterval: checkMs,
    })
    this.#server.maxConnections = MAX_CONNECTIONS
    this.#server.on('request', (request, response) => void this.#onRequest(request, response))
  }

  get guard(): Guard | null {
    return this.#guard
  }

  /** Who followed the events with another token follows them no longer. */
  setGuard(guard: Guard): void {
    if (this.#guard?.hasTokenOf(guard) === false) this.followers.end()
    this.#guard = guard
  }

  async listen(endpoint: Endpoint): Promise<Endpoint> {
    const bound = await bindServer(this.#server, { name: 'admin', endpoint })
    this.#onBound()
    return bound
  }

  async listenOnSocket(path: string): Promise<void> {
    await bindSocket(this.#server, path)
    this.#onBound()
  }

  /** Gives the address up at once, and finishes what is being answered. Resolves when that is done. */
  async retire(): Promise<void> {
    this.#retired = true
    this.followers.end()
    const deadline = setTimeout(() => this.#server.closeAllConnections(), this.#times.retirementMs).unref()
    await closeServer(this.#server)
    clearTimeout(deadline)
  }

  async close(): Promise<void> {
    this.#retired = true
    this.followers.end()
    const closed = closeServer(this.#server)
    this.#server.closeAllConnections()
    await closed
  }

  #onBound(): void {
    // out of file descriptors: who wanted to connect is turned away, and the door stays
    this.#server.on('error', (error) => this.#log.warn({ err: error }, 'the admin listener cannot accept a connection'))
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // the client is gone: 'close' says so too
    response.on('error', () => {})
    response.setHeader('cache-control', 'no-store')
    response.setHeader('x-content-type-options', 'nosniff')
    try {
      const refusal = this.#admit(request)
      const body = refusal === null ? await discardBody(request) : 'unread'
      if (body === 'gone') return
      if (refusal !== null || body === 'too long') {
        response.shouldKeepAlive = false
        sendRefusal(response, refusal ?? TOO_LONG)
        return
      }
      this.#listener ??= this.#load(this)
      await (await this.#listener)(request, response)
    } catch (error) {
      this.#log.error({ err: error }, 'cannot answer at the admin door')
      if (!response.headersSent)
        sendRefusal(response, { code: 'internal', message: 'expected an answer: received an error, which is in the log' })
    }
    if (!response.writableFinished && !this.followers.has(response)) request.socket.setTimeout(this.#times.timeoutMs)
  }

  /** What can be said without looking at the path. On the way the request takes the one form that the app can get. */
  #admit(request: IncomingMessage): Refusal | null {
    if (this.#retired) return RETIRED
    if (!METHODS.has(request.method ?? ''))
      return { code: 'not_implemented', message: `expected ${[...METHODS].join(', ')}: received another method` }
    const target = readTarget(request)
    if ('code' in target) return target
    const refusal = this.#guard?.refuseHost(target.authority) ?? null
    request.url = target.origin
    request.headers.host = 'localhost'
    return refusal
  }
}

/** Those that the Fetch standard can carry; the app says which of them it has. */
const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])
const TOO_LONG: Refusal = { code: 'content_too_large', message: `expected at most ${MAX_BODY_OCTETS} octets of content: received more` }
const RETIRED: Refusal = { code: 'unavailable', message: 'expected another address: received a request on one that is given up' }

/** Resolves when the body is over, in one way or another. */
function discardBody(request: IncomingMessage): Promise<'read' | 'too long' | 'gone'> {
  return new Promise((resolve) => {
    let octets = 0
    if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_OCTETS) resolve('too long')
    request.on('data', (chunk: Buffer) => {
      octets += chunk.length
      if (octets > MAX_BODY_OCTETS) resolve('too long')
    })
    request.once('end', () => resolve('read'))
    request.once('close', () => resolve('gone'))
  })
}
