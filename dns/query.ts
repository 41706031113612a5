import type { Answer } from './answer.ts'
import { copyOf } from './bytes.ts'
import { NO_SUBNET, type Subnet } from './client-subnet.ts'
import type { Client, ReplySink, Route } from './contracts.ts'
import type { Failure } from './failure.ts'
import { Flag, HEADER_LENGTH } from './header.ts'
import { NO_ROUTE } from './route.ts'

/** No keepalive option (RFC 7828) in the query. */
export const KEEPALIVE_ABSENT = -1

/**
 * One question on its way through the gateway. It is its own continuation: the pipeline's cursor, the answer and the
 * address of the reply are fields, so nothing on the data path allocates a promise, a closure or a timer.
 * Every field is set in the constructor, in one order: all queries share one shape.
 */
export class Query {
  readonly client: Client
  readonly reply: ReplySink
  /** Meaningful to `reply` only. */
  readonly token: number

  /** The message as received, borrowed while the transport's accept() runs; after park() a copy of header and question. */
  wire: Uint8Array
  length: number
  parked = false

  // facts of the message, set by readQuery()
  id = 0
  flags = 0
  qtype = 0
  qclass = 0
  /** Offset after the question; HEADER_LENGTH while no question has been read. */
  questionEnd: number = HEADER_LENGTH
  /** Whether it had an OPT record: decides whether the answer has one (RFC 6891 §6.1.1, §7). */
  edns = false
  /** RFC 6891 §6.2.3, at least 512. */
  udpSize = 512
  /** RFC 3225 §3. */
  dnssecOk = false
  /** OPTION-LENGTH of edns-tcp-keepalive. */
  keepaliveLength: number = KEEPALIVE_ABSENT
  /** Where the data of the first COOKIE option stands in `wire` until the query is parked, and its length; 0: there is none. */
  cookieAt = 0
  cookieLength = 0
  /** Where the data of the first CLIENT-SUBNET option stands in `wire` until the query is parked, and its length; at 0: there is none. */
  clientSubnetAt = 0
  clientSubnetLength = 0

  // how the answer is to look, set by the shape stage
  /** Largest message, octets. */
  sizeLimit = 65_535
  /** RFC 8467 block length; 0: no padding. */
  padding = 0
  /** RFC 7828 TIMEOUT to announce, units of 100 ms; -1: none. */
  keepalive = -1
  /** AA and RA of the answer: by default that of a server that recurses, and is authoritative for nothing. */
  serverFlags: number = Flag.RA
  /** RFC 7873: the client's cookie and ours; null: none. Set by the accept stage. */
  cookie: Uint8Array | null = null
  /** Whether the client has shown by its cookie that it receives what is sent to its address. */
  isProven = false
  /** RFC 7871: the data of the client's option, for the answer; null: the answer has none. Set by the client-subnet stage. */
  clientSubnet: Uint8Array | null = null

  /** What an upstream is told of the client's network, and so for whom the answer is. Set by the client-subnet stage. */
  subnet: Subnet = NO_SUBNET

  // the pipeline's own
  /** Milliseconds of the pipeline's clock. */
  receivedAt = 0
  deadline = 0
  /** Index of the stage that has it. */
  stage = 0
  answer: Answer | null = null
  /** When that was, milliseconds of the pipeline's clock. */
  answeredAt = 0
  /** Set by the route stage. */
  route: Route = NO_ROUTE
  failure: Failure | null = null
  /** Whether the gateway asks it to learn how a server is: no client waits for the answer. */
  isProbe = false
  /** Whether there is an expired answer to it, which is better than none (RFC 8767). */
  hasStale = false
  /** The next of those that wait for the same answer. */
  next: Query | null = null

  constructor(client: Client, reply: ReplySink, token: number, wire: Uint8Array) {
    this.client = client
    this.reply = reply
    this.token = token
    this.wire = wire
    this.length = wire.length
  }

  /** Takes what must outlive the transport's buffer: header and question, at most 271 octets, at their own offsets. */
  park(): void {
    if (this.parked) return
    this.wire = copyOf(this.wire, this.questionEnd)
    this.length = this.questionEnd
    this.parked = true
  }

  /** Leaves the line of those that wait; returns who stood behind. */
  leave(): Query | null {
    const { next } = this
    this.next = null
    return next
  }

  /** The same question asked on nobody's behalf: parked, its answer goes to `reply`. */
  background(reply: ReplySink): Query {
    const query = new Query(this.client, reply, 0, copyOf(this.wire, this.questionEnd))
    query.parked = true
    query.flags = this.flags
    query.qtype = this.qtype
    query.qclass = this.qclass
    query.questionEnd = this.questionEnd
    query.dnssecOk = this.dnssecOk
    query.subnet = this.subnet
    query.route = this.route
    query.receivedAt = this.receivedAt
    query.deadline = this.deadline
    return query
  }
}
