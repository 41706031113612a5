import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { Answer } from '../dns/answer.ts'
import { putU16 } from '../dns/bytes.ts'
import type { Client, QueryAcceptor, ReplySink, TransportMeter } from '../dns/contracts.ts'
import { Failure } from '../dns/failure.ts'
import { HEADER_LENGTH } from '../dns/header.ts'
import { Query } from '../dns/query.ts'
import type { Clock } from '../net/clock.ts'
import type { Flusher } from '../net/flusher.ts'
import { Deframer, PREFIX_LENGTH } from '../net/framing.ts'
import type { OutputBudget } from '../net/output-budget.ts'
import { scratch } from '../net/scratch.ts'
import { type Wheel, WheelEntry } from '../net/wheel.ts'
import type { ServedConnection } from './listener.ts'
import { noWork, type Workload } from './workload.ts'

/**
 * So many answers that are ready together leave a TLS connection one by one, each in a record of its own: getdns (stubby) and systemd before
 * 251 take one message each time the network has something, and do not see what else was in the record before more comes. A few are what the
 * names of a page are; those who ask for more at once read properly, and are spared the cost.
 */
const FEW = 12
/** Output that may wait in one connection before reading pauses: four of the largest messages. */
const MAX_PENDING_OUTPUT = 262_144
/** Malformed messages that a client is forgiven (conformance TCP-16). */
const MAX_MALFORMED = 10
/** How often a connection with open queries is looked at again. */
const WAITING_CHECK_MS = 1000
/** How long the first query may take: who connects wants to ask, and stub resolvers send at once. */
const FIRST_QUERY_MS = 10_000
/** How long a connection that we end may take to take the rest. */
const LINGER_MS = 2000

export interface ConnectionSettings {
  readonly idleMs: number
  readonly inFlight: number
}

export interface ConnectionDependencies {
  readonly acceptor: QueryAcceptor
  readonly clock: Clock
  readonly wheel: Wheel
  readonly flusher: Flusher
  readonly budget: OutputBudget
  readonly meter: TransportMeter
}

export interface ConnectionOptions {
  readonly settings: ConnectionSettings
  readonly dependencies: ConnectionDependencies
  /** The connection has ended. */
  readonly onClose: () => void
}

/**
 * One client on a byte stream, TCP or TLS (RFC 7766): queries are processed concurrently and answered in whatever order
 * they are ready; all answers of one turn of the event loop leave in one write. It reads no more than it may have in flight.
 */
export class StreamConnection extends WheelEntry implements ReplySink, ServedConnection {
  readonly workload: Workload = noWork()
  readonly #client: { -readonly [Fact in keyof Client]: Client[Fact] }
  readonly #socket: Socket
  readonly #isTls: boolean
  readonly #settings: ConnectionSettings
  readonly #dependencies: ConnectionDependencies
  readonly #onClosed: () => void
  readonly #deframer = new Deframer()
  readonly #output: Uint8Array[] = []
  #outputLength = 0
  /** Octets counted in the budget: what waits here and what the socket has not passed on. */
  #held = 0
  #malformed = 0
  #flushScheduled = false
  /** The client sent its FIN, or we drain: what has been read is still answered, nothing more is read. */
  #halfClosed = false
  /** Nothing more is taken; the connection ends when the last answer is out. */
  #ending = false
  #ended = false
  #closed = false
  /** The client does not take what was written: nothing is read until it does. */
  #blocked = false
  /** TLS has not passed on what was written last: what is written meanwhile, Node puts into one record. */
  #writing = false
  #lastActive: number

  constructor(socket: Socket, client: Omit<Client, 'keepalive'>, { settings, dependencies, onClose }: ConnectionOptions) {
    super()
    this.#socket = socket
    this.#isTls = socket instanceof TLSSocket
    this.#settings = settings
    this.#dependencies = dependencies
    this.#onClosed = onClose
    // RFC 7828 §3.1: in units of 100 milliseconds
    this.#client = { ...client, keepalive: Math.floor(settings.idleMs / 100) }
    this.#lastActive = dependencies.clock()
    socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    socket.on('end', () => this.#halfClose())
    socket.on('drain', () => this.#onDrain())
    // a reset is followed by 'close', which is where everything is given back
    socket.on('error', () => {})
    socket.on('close', () => this.#onClose())
    dependencies.wheel.set(this, this.#lastActive + this.#patience)
  }

  get held(): number {
    return this.#held
  }

  get client(): Client {
    return this.#client
  }

  /** Answers what is open, takes nothing new, closes. RFC 7828 §3.3.2: TIMEOUT 0 says so to the client. */
  drain(): void {
    this.#client.keepalive = 0
    this.#halfClose()
  }

  close(): void {
    this.#socket.destroy()
  }

  deliver(query: Query, answer: Answer): void {
    this.workload.questions--
    // RFC 7766 §6.2.4: the client is gone
    if (this.#closed || this.#ended) return
    if (query.failure === Failure.malformed_message && ++this.#malformed === MAX_MALFORMED + 1) this.#refuseMore(Failure.too_many_malformed)
    const length = answer.encodeInto(scratch, PREFIX_LENGTH, query, query.answeredAt)
    putU16(scratch, 0, length)
    const message = Buffer.allocUnsafe(PREFIX_LENGTH + length)
    scratch.copy(message, 0, 0, PREFIX_LENGTH + length)
    this.#output.push(message)
    this.#outputLength += message.length
    this.#held += message.length
    if (!this.#dependencies.budget.take(message.length)) {
      // once, however many answers follow before the socket has closed
      this.#ended = true
      this.#dependencies.meter.dropped(Failure.output_limit)
      this.#socket.destroy()
      return
    }
    this.#scheduleFlush()
  }

  /** Conformance P-1: a message that cannot be answered ends the connection, after the answers that are still due. */
  refuse(): void {
    this.workload.questions--
    this.#end()
  }

  flush(): void {
    this.#flushScheduled = false
    if (this.#closed || this.#ended) return
    this.#write()
    this.#pump()
    if (this.#ending && this.workload.questions === 0 && this.#output.length === 0) this.#finish()
  }

  /** RFC 7766 §6.2.3: the idle time counts from the last complete message, so a trickle of octets keeps nothing open. */
  override onDeadline(now: number): void {
    const idleSince = now - this.#lastActive
    const limit = this.#patience
    const waiting = !this.#ended && !this.#blocked && this.workload.questions > 0
    if (idleSince < limit || waiting) {
      this.#dependencies.wheel.set(this, waiting ? now + Math.min(limit, WAITING_CHECK_MS) : this.#lastActive + limit)
      return
    }
    const isStuck = this.#blocked || this.#output.length > 0
    if (isStuck) this.#dependencies.meter.dropped(Failure.slow_reader)
    else if (!this.#ended && (this.workload.asked === 0 || this.#deframer.hasRest)) this.#dependencies.meter.dropped(Failure.query_timeout)
    if (isStuck || this.#ended) this.#socket.destroy()
    else this.#finish()
  }

  /** How long nothing may happen. */
  get #patience(): number {
    if (this.#ended) return LINGER_MS
    return this.workload.asked > 0 ? this.#settings.idleMs : Math.min(this.#settings.idleMs, FIRST_QUERY_MS)
  }

  #onData(chunk: Buffer): void {
    if (this.#halfClosed || this.#ending) return
    this.#deframer.push(chunk)
    this.#pump()
  }

  #pump(): void {
    while (this.#mayRead()) {
      const message = this.#deframer.next()
      if (message === null) {
        if (this.#halfClosed) this.#end()
        else if (this.#socket.isPaused()) this.#socket.resume()
        return
      }
      this.#lastActive = this.#dependencies.clock()
      // no length shorter than a header can be trusted to mark where the next message begins
      if (message.length < HEADER_LENGTH) {
        this.#refuseMore(Failure.frame_too_short)
        return
      }
      this.workload.questions++
      this.workload.asked++
      this.#dependencies.acceptor.accept(new Query(this.#client, this, 0, message))
    }
    if (!this.#ending) this.#socket.pause()
  }

  #mayRead(): boolean {
    return !this.#ending && !this.#blocked && this.workload.questions < this.#settings.inFlight && this.#outputLength < MAX_PENDING_OUTPUT
  }

  #write(): void {
    if (this.#output.length === 0 || this.#blocked || (this.#writing && this.#output.length <= FEW)) return
    const bytes = this.#takeOutput()
    this.#lastActive = this.#dependencies.clock()
    this.#writing = this.#isTls
    this.#blocked = !this.#socket.write(bytes, this.#isTls ? this.#onWritten : undefined)
    if (!this.#blocked) this.#release(this.#held - this.#outputLength)
  }

  /**
   * What is to leave in one record, if it fits. Not by TLSSocket.setMaxSendFragment(): of a connection, OpenSSL can make records only ever
   * smaller (with the limit falls `split_send_fragment`, which alone counts, and which Node does not raise): large ones would never come back.
   */
  #takeOutput(): Uint8Array {
    const [first] = this.#output
    if (first !== undefined && (this.#output.length === 1 || (this.#isTls && this.#output.length <= FEW))) {
      this.#output.shift()
      this.#outputLength -= first.length
      return first
    }
    const all = Buffer.concat(this.#output, this.#outputLength)
    this.#output.length = 0
    this.#outputLength = 0
    return all
  }

  readonly #onWritten = (): void => {
    this.#writing = false
    if (this.#output.length > 0 && !this.#flushScheduled) this.flush()
  }

  #onDrain(): void {
    this.#blocked = false
    this.#lastActive = this.#dependencies.clock()
    this.#release(this.#held - this.#outputLength)
    this.#scheduleFlush()
  }

  #refuseMore(failure: Failure): void {
    this.#dependencies.meter.dropped(failure)
    this.#end()
  }

  /** A FIN is no cancellation (conformance TCP-10): what was asked before it is answered. */
  #halfClose(): void {
    this.#halfClosed = true
    this.#scheduleFlush()
  }

  #end(): void {
    if (this.#ending) return
    this.#ending = true
    // read on and discard: unread octets would turn our FIN into a reset that overtakes the answers
    this.#socket.resume()
    this.#scheduleFlush()
  }

  #finish(): void {
    if (this.#ended || this.#closed) return
    this.#ending = true
    this.#ended = true
    this.#lastActive = this.#dependencies.clock()
    this.#socket.resume()
    this.#socket.end()
    this.#dependencies.wheel.set(this, this.#lastActive + LINGER_MS)
  }

  #release(octets: number): void {
    this.#held -= octets
    this.#dependencies.budget.give(octets)
  }

  #scheduleFlush(): void {
    if (this.#flushScheduled || this.#closed) return
    this.#flushScheduled = true
    this.#dependencies.flusher.schedule(this)
  }

  #onClose(): void {
    this.#closed = true
    this.#ending = true
    this.#output.length = 0
    this.#release(this.#held)
    this.#dependencies.wheel.clear(this)
    this.#onClosed()
  }
}
