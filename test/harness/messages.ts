import { readFileSync } from 'node:fs'
import { Answer } from '../../dns/answer.ts'
import { AnswerReader } from '../../dns/answer-reader.ts'
import { type Client, NO_KEEPALIVE, TRANSPORTS } from '../../dns/contracts.ts'
import { Query } from '../../dns/query.ts'
import { readQuery } from '../../dns/query-reader.ts'

/** Wire vectors V01-V37 and expected answers E04-E31 of the project's conformance list, hex by id. */
const VECTORS = JSON.parse(readFileSync(new URL('../vectors/conformance.json', import.meta.url), 'utf8')) as Record<string, string>

export function vector(id: string): Buffer {
  const hex = VECTORS[id]
  if (hex === undefined) throw new RangeError(`Cannot find vector: received ${id}`)
  return Buffer.from(hex, 'hex')
}

export function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ''), 'hex')
}

/** Labels by dot; no escapes. */
export function wireName(name: string): Buffer {
  const labels = name.split('.').filter((label) => label !== '')
  return Buffer.concat([...labels.map((label) => Buffer.from([label.length, ...Buffer.from(label)])), Buffer.from([0])])
}

export interface QuestionParts {
  readonly name: string
  readonly type?: number
  readonly class?: number
  readonly id?: number
  readonly flags?: number
  /** OPT record: RDATA in hex, '' for none inside; absent: no OPT. */
  readonly opt?: string
  readonly optFlags?: number
  readonly udpSize?: number
}

export function question(parts: QuestionParts): Buffer {
  const { name, type = 1, id = 0x1234, flags = 0x0100, opt } = parts
  const header = Buffer.alloc(12)
  header.writeUInt16BE(id, 0)
  header.writeUInt16BE(flags, 2)
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(opt === undefined ? 0 : 1, 10)
  const tail = Buffer.alloc(4)
  tail.writeUInt16BE(type, 0)
  tail.writeUInt16BE(parts.class ?? 1, 2)
  return Buffer.concat([header, wireName(name), tail, opt === undefined ? Buffer.alloc(0) : optRecord(parts)])
}

function optRecord({ opt = '', optFlags = 0, udpSize = 1232 }: QuestionParts): Buffer {
  const rdata = hex(opt)
  const record = Buffer.alloc(11)
  record.writeUInt16BE(41, 1)
  record.writeUInt16BE(udpSize, 3)
  record.writeUInt16BE(optFlags, 7)
  record.writeUInt16BE(rdata.length, 9)
  return Buffer.concat([record, rdata])
}

export interface RecordParts {
  /** Owner as wire bytes; default: a pointer to the question's name. */
  readonly owner?: Buffer
  readonly type: number
  readonly class?: number
  readonly ttl?: number
  readonly rdata: Buffer
}

export const QUESTION_NAME = hex('c00c')

export function record(parts: RecordParts): Buffer {
  const fixed = Buffer.alloc(10)
  fixed.writeUInt16BE(parts.type, 0)
  fixed.writeUInt16BE(parts.class ?? 1, 2)
  fixed.writeUInt32BE(parts.ttl ?? 300, 4)
  fixed.writeUInt16BE(parts.rdata.length, 8)
  return Buffer.concat([parts.owner ?? QUESTION_NAME, fixed, parts.rdata])
}

export function aRecord(address = '192.0.2.1', rest: Partial<RecordParts> = {}): Buffer {
  return record({ type: 1, rdata: Buffer.from(address.split('.').map(Number)), ...rest })
}

/** An OPT record with its RDATA in hex, and the upper eight bits of `rcode` (RFC 6891 §6.1.3). */
export function optResponse({ rcode = 0, rdata = '' }: { rcode?: number; rdata?: string } = {}): Buffer {
  return record({ owner: hex('00'), type: 41, class: 1232, ttl: (rcode >> 4) * 0x1_00_00_00, rdata: hex(rdata) })
}

export interface ResponseParts {
  readonly flags?: number
  readonly answers?: readonly Buffer[]
  readonly authorities?: readonly Buffer[]
  readonly additionals?: readonly Buffer[]
}

/** A response to `query` (its id and question are copied), records given as bytes. */
export function response(query: Uint8Array, parts: ResponseParts = {}): Buffer {
  const { answers = [], authorities = [], additionals = [] } = parts
  const header = Buffer.from(query.subarray(0, 12))
  header.writeUInt16BE(parts.flags ?? 0x8180, 2)
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(answers.length, 6)
  header.writeUInt16BE(authorities.length, 8)
  header.writeUInt16BE(additionals.length, 10)
  let end = 12
  while (query[end] !== 0) end += 1 + (query[end] ?? 0)
  return Buffer.concat([header, query.subarray(12, end + 5), ...answers, ...authorities, ...additionals])
}

const LOOPBACK = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1)

export function client(transport: keyof typeof TRANSPORTS = 'udp', rest: Partial<Client> = {}): Client {
  const keepalive = transport === 'tcp' || transport === 'dot' ? 300 : NO_KEEPALIVE
  return {
    traits: TRANSPORTS[transport],
    address: '127.0.0.1',
    octets: LOOPBACK,
    port: 40_000,
    holder: null,
    refusal: null,
    keepalive,
    ...rest,
  }
}

/** A parsed query of its own, whose reply nobody waits for. */
export function parsedQuery(wire: Uint8Array, of: Client = client()): Query {
  const query = new Query(of, { deliver: () => {}, refuse: () => {} }, 0, wire)
  const failure = readQuery(query)
  if (failure !== null) throw new RangeError(`Cannot parse the query: received ${failure.code}`)
  return query
}

/** What the reader makes of `message`; throws when it refuses it. */
export function readAnswer(query: Query, message: Uint8Array): Answer {
  const result = new AnswerReader().read(query, message, 0)
  if (!(result instanceof Answer)) throw new RangeError(`Cannot read the answer: received ${result.code}`)
  return result
}

export function encode(answer: Answer, query: Query, now = 0): Buffer {
  const out = Buffer.alloc(65_535)
  return out.subarray(0, answer.encodeInto(out, 0, query, now))
}
