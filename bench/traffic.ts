import { Answer } from '../dns/answer.ts'
import { AnswerReader } from '../dns/answer-reader.ts'
import { putU16, putU32 } from '../dns/bytes.ts'
import { type Client, type ReplySink, TRANSPORTS } from '../dns/contracts.ts'
import { OPT_LENGTH, putOpt } from '../dns/edns.ts'
import { HEADER_LENGTH } from '../dns/header.ts'
import { Query } from '../dns/query.ts'
import { readQuery } from '../dns/query-reader.ts'
import { Class, Type } from '../dns/types.ts'
import { parseAddress } from '../net/address.ts'

const TTL_SECONDS = 86_400
/** TYPE and CLASS. */
const QUESTION_TAIL = 4
/** An A record behind a pointer to the question's name. */
const RECORD_LENGTH = 16
const ADDRESSES = 2

const HOSTS = ['www', 'mail', 'api', 'cdn', 'static-assets', 'img', 'login', 'telemetry', 'edge', 'video', 'eu-west', 'm', 'autoconfig']
const SITES = ['shop', 'some-company', 'news', 'cloud-provider', 'bank', 'university', 'game']

const CLIENT: Client = {
  traits: TRANSPORTS.dot,
  address: '127.0.0.1',
  octets: parseAddress('127.0.0.1') ?? new Uint8Array(16),
  port: 40_000,
  holder: null,
  refusal: null,
  keepalive: 300,
}
const NOBODY: ReplySink = { deliver() {}, refuse() {} }

/** A made-up name, of 30 to 45 octets: with two addresses, its answer has about 100. */
export function nameOf(i: number): string {
  return `${HOSTS[i % HOSTS.length]}${i}.${SITES[i % SITES.length]}${i % 1000}.example.com`
}

/** A client's question for the A records of `name`, with EDNS. */
export function questionOf(name: string, id = 0): Buffer {
  const nameLength = name.length + 2
  const wire = Buffer.alloc(HEADER_LENGTH + nameLength + QUESTION_TAIL + OPT_LENGTH)
  putU16(wire, 0, id)
  putU16(wire, 2, 0x0100)
  putU16(wire, 4, 1)
  putU16(wire, 10, 1)
  let at = HEADER_LENGTH
  for (const label of name.split('.')) {
    wire[at] = label.length
    at += 1 + wire.write(label, at + 1, 'latin1')
  }
  putU16(wire, at + 1, Type.A)
  putU16(wire, at + 3, Class.IN)
  putOpt(wire, at + 1 + QUESTION_TAIL, { extendedRcode: 0, dnssecOk: false })
  return wire
}

/** What a server says to the question `wire`, which has no name but one and ends at `questionEnd`. */
export function responseTo(wire: Uint8Array, questionEnd: number): Buffer {
  const message = Buffer.alloc(questionEnd + ADDRESSES * RECORD_LENGTH)
  message.set(wire.subarray(0, questionEnd))
  putU16(message, 2, 0x8180)
  putU16(message, 6, ADDRESSES)
  putU16(message, 10, 0)
  for (let i = 0; i < ADDRESSES; i++) {
    const at = questionEnd + i * RECORD_LENGTH
    putU16(message, at, 0xc000 | HEADER_LENGTH)
    putU16(message, at + 2, Type.A)
    putU16(message, at + 4, Class.IN)
    putU32(message, at + 6, TTL_SECONDS)
    putU16(message, at + 10, 4)
    putU32(message, at + 12, 0xc000_0200 + i)
  }
  return message
}

/**
 * Questions laid out one behind the other in the order in which they are asked, as fresh ones come out of a socket: so what is
 * slow about them is what the cache does. One Query stands for all of them in turn.
 */
export class Traffic {
  readonly count: number
  readonly #wires: readonly Buffer[]
  readonly #query: Query
  readonly #reader = new AnswerReader()

  constructor(names: readonly string[]) {
    this.count = names.length
    const questions = names.map((name) => questionOf(name))
    const memory = Buffer.concat(questions)
    let at = 0
    this.#wires = questions.map(({ length }) => {
      at += length
      return memory.subarray(at - length, at)
    })
    this.#query = new Query(CLIENT, NOBODY, 0, this.#wires[0] ?? Buffer.alloc(0))
    if (readQuery(this.#query) !== null) throw new RangeError(`Cannot parse a question: received ${names[0]}`)
  }

  /** The question at `i`, as readQuery() leaves it; true until the next call. */
  ask(i: number, now: number): Query {
    const query = this.#query
    const wire = this.#wires[i] as Buffer
    query.wire = wire
    query.length = wire.length
    query.questionEnd = wire.length - OPT_LENGTH
    query.id = i & 0xffff
    query.receivedAt = now
    return query
  }

  /** What an upstream answers to all of them. */
  answers(): readonly Answer[] {
    return this.#wires.map((_, i) => this.answer(i, 0))
  }

  /** What an upstream answers to it, parsed, in memory of its own. */
  answer(i: number, now: number): Answer {
    const query = this.ask(i, now)
    const answer = this.#reader.read(query, responseTo(query.wire, query.questionEnd), now)
    if (!(answer instanceof Answer)) throw new RangeError(`Cannot read an answer: received ${answer.code}`)
    return answer
  }
}
