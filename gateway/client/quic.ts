import type { LookupAddress } from 'node:dns'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { reasonOf } from '../../dns/operational-error.ts'
import { monotonicClock } from '../../net/clock.ts'
import { Flusher } from '../../net/flusher.ts'
import { createQuicEngine } from '../../net/quic/load.ts'
import type { QuicClientConnection, QuicCloseReason, QuicEngine, QuicHandler, QuicLimits } from '../../net/quic.ts'
import { Wheel } from '../../net/wheel.ts'
import { addressesOf, type Exchange, RefusedError, type Settle, untilAborted } from './exchange.ts'
import { handshakeError, isRefusal, withReason } from './quic-codes.ts'
import { type HttpFacts, quicSession, type Reply } from './session.ts'

/** A protocol on top of QUIC. */
export interface QuicProtocol {
  /** ALPN. */
  readonly token: 'doq' | 'h3'
  /** For people. */
  readonly name: string
  /** RFC 9000 §5.3: with which code a connection closes that is not needed any more. */
  readonly noError: number
  /** With which code a server closes that has too much to do. */
  readonly excessiveLoad: number
  readonly needsUnidirectional: boolean
  codeText(code: number): string
  /** Sends the query on a connection whose handshake is complete. */
  ask(connection: QuicClientConnection, query: Uint8Array, settle: Settle<QuicAnswer>): QuicAsking
}

export interface QuicAnswer {
  readonly message: Uint8Array
  readonly http: HttpFacts | null
}

/** A query that was sent. */
export interface QuicAsking extends Pick<QuicHandler, 'received' | 'reset'> {
  /** Time is up: closes the connection and says why, where there is more to say than that nothing came. */
  overdue(): string | null
}

export interface QuicTrust {
  readonly serverName: string
  /** PEM; null: the certificate is not verified. */
  readonly roots: string | null
}

/** The signal is the only deadline: longer than --timeout can be. */
const IDLE_MS = 660_000
/** RFC 9250 §4.2, RFC 9114 §6.1: servers open no bidirectional streams. */
const LIMITS: QuicLimits = { idleMs: IDLE_MS, streams: 0, window: 1_048_576 }
/** RFC 8305 §5. */
const NEXT_ADDRESS_MS = 250

export interface QuicChoice {
  readonly protocol: QuicProtocol
  readonly trust: QuicTrust
}

/** Asks over QUIC, with an engine for this one question. */
export async function askOnceOverQuic(exchange: Exchange, choice: QuicChoice): Promise<Reply> {
  const directory = await mkdtemp(join(tmpdir(), 'atlas-query-quic-'))
  try {
    return await askOverQuic(exchange, createClientEngine(directory), choice)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** The library leaves secrets in its directory for moments, so nobody else may see into it. */
export function createClientEngine(directory: string): QuicEngine {
  const engine = createQuicEngine(directory, { clock: monotonicClock, wheel: new Wheel(monotonicClock), flusher: new Flusher() })
  if ('unavailable' in engine) throw new Error(`no QUIC on this machine: ${engine.unavailable}`)
  return engine
}

/** Asks over QUIC, on a connection of its own. */
export async function askOverQuic(exchange: Exchange, engine: QuicEngine, { protocol, trust }: QuicChoice): Promise<Reply> {
  const { signal } = exchange
  if (protocol.needsUnidirectional && !engine.opensUnidirectional)
    throw new Error(`the QUIC library of this machine is too limited for ${protocol.name}`)
  const dialling = new Dialling(exchange, protocol, trust)
  try {
    const addresses = await addressesOf(exchange)
    return await untilAborted(signal, (settle) => dialling.start(engine, addresses, settle))
  } catch (error) {
    const overdue = signal.aborted ? dialling.overdue() : null
    throw overdue === null ? error : new Error(overdue)
  } finally {
    await dialling.end()
  }
}

/**
 * Connections to the addresses of a host, one after the other; the first whose handshake is complete gets the query. An address
 * where nobody listens is silent, so silence makes room for the next (RFC 8305 §5).
 */
class Dialling {
  readonly exchange: Exchange
  readonly protocol: QuicProtocol
  readonly trust: QuicTrust
  readonly #attempts: Attempt[] = []
  #settle: Settle<Reply> | null = null
  #chosen: Attempt | null = null
  #running: Promise<void> = Promise.resolve()
  readonly #over = new AbortController()

  constructor(exchange: Exchange, protocol: QuicProtocol, trust: QuicTrust) {
    this.exchange = exchange
    this.protocol = protocol
    this.trust = trust
  }

  start(engine: QuicEngine, addresses: readonly LookupAddress[], settle: Settle<Reply>): void {
    this.#settle = settle
    this.#running = this.#dialAll(engine, addresses)
  }

  /** Where the query is to be asked; null: on another connection. */
  choose(attempt: Attempt): Settle<Reply> | null {
    if (this.#chosen !== null) return null
    this.#chosen = attempt
    return this.#settle
  }

  overdue(): string | null {
    return this.#chosen?.overdue() ?? null
  }

  async end(): Promise<void> {
    this.#over.abort()
    await this.#running
    await Promise.all(this.#attempts.map((attempt) => attempt.end()))
  }

  async #dialAll(engine: QuicEngine, addresses: readonly LookupAddress[]): Promise<void> {
    for (const { address } of addresses) {
      if (this.#over.signal.aborted || this.#chosen !== null) return
      const attempt = new Attempt(this)
      this.#attempts.push(attempt)
      await attempt.dial(engine, address)
      const enough = sleep(NEXT_ADDRESS_MS, undefined, { signal: this.#over.signal }).catch(() => {})
      await Promise.race([attempt.decided, enough])
    }
    void this.#failWhenAllHave()
  }

  async #failWhenAllHave(): Promise<void> {
    await Promise.all(this.#attempts.map(({ decided }) => decided))
    if (this.#chosen === null) this.#settle?.reject(this.#attempts[0]?.failure)
  }
}

/** One connection, from its first packet to its end. */
class Attempt implements QuicHandler {
  failure: unknown = null
  readonly #dialling: Dialling
  readonly #decided = Promise.withResolvers<void>()
  #connection: QuicClientConnection | null = null
  #settle: Settle<Reply> | null = null
  #asking: QuicAsking | null = null
  /** Why it could not be asked. */
  #unasked: unknown = null
  #startedAt = 0

  constructor(dialling: Dialling) {
    this.#dialling = dialling
  }

  /** Resolves when the handshake is complete, or has failed. */
  get decided(): Promise<void> {
    return this.#decided.promise
  }

  async dial(engine: QuicEngine, host: string): Promise<void> {
    const { exchange, protocol, trust } = this.#dialling
    const endpoint = { host, port: exchange.server.port }
    try {
      await engine.dial({ endpoint, protocol: protocol.token, limits: LIMITS, ...trust }, (connection) => {
        this.#connection = connection
        this.#startedAt = performance.now()
        return this
      })
    } catch (error) {
      this.#fail(error)
    }
  }

  established(): void {
    const { exchange, protocol } = this.#dialling
    const handshakeMs = performance.now() - this.#startedAt
    this.#settle = this.#dialling.choose(this)
    if (this.#settle !== null && this.#connection !== null) {
      const { resolve, reject } = this.#settle
      try {
        this.#asking = protocol.ask(this.#connection, exchange.query, {
          resolve: ({ message, http }) => resolve({ message, session: quicSession(protocol.token, handshakeMs, http) }),
          reject,
        })
      } catch (error) {
        // a server that wants nobody has ended the connection by now: closed() follows, and says why
        this.#unasked = error
      }
    }
    this.#decided.resolve()
  }

  received(stream: number, bytes: Uint8Array, fin: boolean): void {
    this.#asking?.received(stream, bytes, fin)
  }

  reset(stream: number, code: number): void {
    this.#asking?.reset(stream, code)
  }

  stalled(): void {}

  closed(reason: QuicCloseReason): void {
    const { protocol, trust } = this.#dialling
    if (this.#settle === null) {
      this.#fail(handshakeError(reason, { serverName: trust.serverName, protocolName: protocol.name }))
      return
    }
    const text = `the server closed the connection without an answer (${withReason(protocol.codeText(reason.code), reason.text)})`
    const isUnwanted = reason.code === protocol.noError || reason.code === protocol.excessiveLoad || isRefusal(reason.code)
    this.#settle.reject(isUnwanted ? new RefusedError(text) : new Error(text))
  }

  overdue(): string | null {
    if (this.#asking === null && this.#unasked !== null) return `no query could be sent: ${reasonOf(this.#unasked)}`
    return this.#asking?.overdue() ?? null
  }

  async end(): Promise<void> {
    this.#connection?.close(this.#dialling.protocol.noError)
    await this.#connection?.destroy()
  }

  #fail(error: unknown): void {
    this.failure = error
    this.#decided.resolve()
  }
}
