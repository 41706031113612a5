import { createHmac } from 'node:crypto'
import type { DnsClient } from '../../certs/acme/dns-01/client.ts'
import { dnsClient } from '../../gateway/assembly/dns-client.ts'
import type { Endpoint } from '../../net/address.ts'
import { hex, record, response, wireName } from './messages.ts'
import { dnsServer, type Handler } from './servers.ts'

/** A key as the server has it. */
export interface ServerKey {
  readonly name: string
  /** "sha256". */
  readonly hash: string
  readonly secret: Buffer
}

export interface UpdateServerOptions {
  readonly key?: ServerKey
  /** What there is from the beginning: RDATA by "name type", of types as numbers. */
  readonly records?: Readonly<Record<string, readonly Buffer[]>>
  /** The zones that it has. */
  readonly zones?: readonly string[]
  /** Seconds by which its clock is ahead. */
  readonly ahead?: number
  /** RCODE of every update. */
  readonly rcode?: number
  /** Signs its answers as if they were somebody else's, or of another time, seconds. */
  readonly signs?: { readonly name?: string; readonly late?: number }
  /** Changes what it is about to say. */
  readonly tamper?: (answer: Buffer) => Buffer
  /** Says nothing of itself but for others (RA). */
  readonly recurses?: boolean
}

export const soaData = (zone: string): Buffer => Buffer.concat([wireName(`ns.${zone}`), wireName(`hostmaster.${zone}`), Buffer.alloc(20)])
/** The message with another octet at `at`. */
export function withOctet(message: Buffer, at: number, octet: number): Buffer {
  const changed = Buffer.from(message)
  changed.writeUInt8(octet, at)
  return changed
}

export const txtData = (text: string): Buffer => Buffer.from([text.length, ...Buffer.from(text)])

const [TYPE_SOA, TYPE_TXT, TYPE_TSIG] = [6, 16, 250]
const [CLASS_IN, CLASS_NONE, CLASS_ANY] = [1, 254, 255]

/** A primary that takes dynamic updates: written from the RFCs alone, and knowing nothing of the code under test. */
export class UpdateServer implements AsyncDisposable {
  readonly #server: Awaited<ReturnType<typeof dnsServer>>
  readonly records: Map<string, Buffer[]>
  readonly options: UpdateServerOptions
  /** Updates that were taken, as "+ name ttl" and "- name ttl". */
  readonly updates: string[] = []
  /** Names and types that were asked for. */
  readonly questions: string[] = []

  private constructor(options: UpdateServerOptions, server: Awaited<ReturnType<typeof dnsServer>>) {
    this.options = options
    this.records = new Map(Object.entries(options.records ?? {}).map(([key, rdatas]) => [key, [...rdatas]]))
    this.#server = server
  }

  static async start(options: UpdateServerOptions = {}): Promise<UpdateServer> {
    const handle: { handler: Handler } = { handler: () => {} }
    const made = new UpdateServer(options, await dnsServer((...args) => handle.handler(...args)))
    handle.handler = (query, reply) => {
      const answer = made.#answer(query)
      reply(options.tamper?.(answer) ?? answer)
    }
    return made
  }

  get endpoint(): Endpoint {
    return this.#server.endpoint
  }

  /** The TXT records of a name. */
  texts(name: string): readonly string[] {
    return (this.records.get(`${name} ${TYPE_TXT}`) ?? []).map((rdata) => rdata.toString('latin1', 1)).toSorted()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]()
  }

  #answer(message: Buffer): Buffer {
    const zone = readName(message, 12)
    const { body, tsig } = this.#unsigned(message)
    const isUpdate = ((message.readUInt16BE(2) >> 11) & 15) === 5
    if (this.options.key === undefined) return isUpdate ? this.#update(body, zone) : this.#query(body, zone)
    if (tsig === null) return rcodeOnly(message, 5)
    const error = this.#verify(body, tsig)
    const answered = error !== 0 ? rcodeOnly(body, 9) : isUpdate ? this.#update(body, zone) : this.#query(body, zone)
    return this.#sign(answered, tsig, error)
  }

  #query(message: Buffer, { name, end }: Name): Buffer {
    const type = message.readUInt16BE(end)
    this.questions.push(`${name} ${type}`)
    const zone = (this.options.zones ?? []).find((each) => name === each || name.endsWith(`.${each}`))
    const flags = this.options.recurses === true ? 0x8180 : 0x8400
    if (zone === undefined && this.options.recurses !== true) return rcodeOnly(message, 5)
    const found = this.records.get(`${name} ${type}`) ?? []
    const answers = found.map((rdata) => record({ type, ttl: 1, rdata }))
    const soa = zone === undefined ? [] : [record({ owner: wireName(zone), type: TYPE_SOA, rdata: soaData(zone) })]
    return response(message, { flags, answers, authorities: answers.length > 0 ? [] : soa })
  }

  #update(message: Buffer, { name: zone, end }: Name): Buffer {
    const { rcode = 0, zones = [] } = this.options
    if (rcode !== 0) return rcodeOnly(message, rcode)
    // RFC 2136 §3.1, §3.2: one zone, no prerequisites
    if (message.readUInt16BE(4) !== 1 || message.readUInt16BE(6) !== 0 || message.readUInt16BE(end) !== TYPE_SOA)
      return rcodeOnly(message, 1)
    if (!zones.includes(zone)) return rcodeOnly(message, 9)
    let at = end + 4
    for (let left = message.readUInt16BE(8); left > 0; left--) {
      const owner = readName(message, at)
      const [type, klass, ttl] = [message.readUInt16BE(owner.end), message.readUInt16BE(owner.end + 2), message.readUInt32BE(owner.end + 4)]
      at = recordEnd(message, at)
      const rdata = Buffer.from(message.subarray(owner.end + 10, at))
      if (owner.name !== zone && !owner.name.endsWith(`.${zone}`)) return rcodeOnly(message, 10)
      const key = `${owner.name} ${type}`
      const others = (this.records.get(key) ?? []).filter((each) => !each.equals(rdata))
      if (klass === CLASS_IN) this.records.set(key, [...others, rdata])
      else if (klass === CLASS_NONE && ttl === 0) this.records.set(key, others)
      else return rcodeOnly(message, 1)
      this.updates.push(`${klass === CLASS_IN ? '+' : '-'} ${owner.name} ${ttl}`)
    }
    return at === message.length ? rcodeOnly(message, 0) : rcodeOnly(message, 1)
  }

  /** The message without the TSIG record that is its last. */
  #unsigned(message: Buffer): { body: Buffer; tsig: Tsig | null } {
    const [questions = 0, answers = 0, authorities = 0, additionals = 0] = [4, 6, 8, 10].map((at) => message.readUInt16BE(at))
    if (additionals === 0) return { body: message, tsig: null }
    let at = 12
    for (let i = 0; i < questions; i++) at = readName(message, at).end + 4
    for (let i = 1; i < answers + authorities + additionals; i++) at = recordEnd(message, at)
    const owner = readName(message, at)
    if (message.readUInt16BE(owner.end) !== TYPE_TSIG) return { body: message, tsig: null }
    const algorithm = readName(message, owner.end + 10)
    const mac = algorithm.end + 10
    const body = Buffer.from(message.subarray(0, at))
    body.writeUInt16BE(additionals - 1, 10)
    return {
      body,
      tsig: {
        name: owner.name,
        algorithm: algorithm.name,
        time: message.readUIntBE(algorithm.end, 6),
        fudge: message.readUInt16BE(algorithm.end + 6),
        mac: Buffer.from(message.subarray(mac, mac + message.readUInt16BE(mac - 2))),
      },
    }
  }

  /** RFC 8945 §5.2. */
  #verify(body: Buffer, tsig: Tsig): number {
    const { key, ahead = 0 } = this.options
    if (key === undefined || tsig.name !== key.name || tsig.algorithm !== `hmac-${key.hash}`) return 17
    if (!tsig.mac.equals(this.#mac([body], { ...tsig, error: 0, other: Buffer.alloc(0) }))) return 16
    return Math.abs(Math.floor(Date.now() / 1000) + ahead - tsig.time) > tsig.fudge ? 18 : 0
  }

  #sign(answer: Buffer, { algorithm, fudge, mac: requestMac, ...asked }: Tsig, error: number): Buffer {
    const { signs = {} } = this.options
    const [name, time] = [signs.name ?? asked.name, asked.time + (signs.late ?? 0)]
    const other = Buffer.alloc(error === 18 ? 6 : 0)
    if (error === 18) other.writeUIntBE(Math.floor(Date.now() / 1000) + (this.options.ahead ?? 0), 0, 6)
    const terms = { name, algorithm, time, fudge, error, other }
    const length = Buffer.alloc(2)
    length.writeUInt16BE(requestMac.length)
    const mac = error === 16 || error === 17 ? Buffer.alloc(0) : this.#mac([length, requestMac, answer], terms)
    const macLength = Buffer.alloc(2)
    macLength.writeUInt16BE(mac.length)
    const rest = Buffer.alloc(6)
    rest.writeUInt16BE(answer.readUInt16BE(0), 0)
    rest.writeUInt16BE(error, 2)
    rest.writeUInt16BE(other.length, 4)
    const rdata = Buffer.concat([wireName(algorithm), timeOf(terms), macLength, mac, rest, other])
    const signed = Buffer.concat([answer, record({ owner: wireName(name), type: TYPE_TSIG, class: CLASS_ANY, ttl: 0, rdata })])
    signed.writeUInt16BE(answer.readUInt16BE(10) + 1, 10)
    return signed
  }

  /** RFC 8945 §4.3. */
  #mac(parts: readonly Buffer[], terms: Terms): Buffer {
    const { key } = this.options
    const hmac = createHmac(key?.hash ?? 'sha256', key?.secret ?? '')
    for (const part of parts) hmac.update(part)
    const error = Buffer.alloc(4)
    error.writeUInt16BE(terms.error, 0)
    error.writeUInt16BE(terms.other.length, 2)
    for (const part of [wireName(terms.name), hex('00ff00000000'), wireName(terms.algorithm), timeOf(terms), error, terms.other])
      hmac.update(part)
    return hmac.digest()
  }
}

interface Terms {
  readonly name: string
  readonly algorithm: string
  readonly time: number
  readonly fudge: number
  readonly error: number
  readonly other: Buffer
}

type Tsig = Omit<Terms, 'error' | 'other'> & { readonly mac: Buffer }

interface Name {
  readonly name: string
  readonly end: number
}

/** A name without pointers, as ours have none. */
function readName(message: Buffer, at: number): Name {
  const labels: string[] = []
  for (let length = message.readUInt8(at); length > 0; length = message.readUInt8(at)) {
    labels.push(message.toString('latin1', at + 1, at + 1 + length).toLowerCase())
    at += length + 1
  }
  return { name: labels.join('.'), end: at + 1 }
}

function recordEnd(message: Buffer, at: number): number {
  const fixed = readName(message, at).end
  return fixed + 10 + message.readUInt16BE(fixed + 8)
}

function rcodeOnly(message: Buffer, rcode: number): Buffer {
  const flags = 0x8000 | (message.readUInt16BE(2) & 0x7800) | rcode
  return response(message, { flags })
}

function timeOf({ time, fudge }: Pick<Terms, 'time' | 'fudge'>): Buffer {
  const octets = Buffer.alloc(8)
  octets.writeUIntBE(time, 0, 6)
  octets.writeUInt16BE(fudge, 6)
  return octets
}

/** The world's port 53 is one of these servers, by address. */
export function clientFor(servers: Readonly<Record<string, Endpoint>>): DnsClient {
  const at = (server: Endpoint): Endpoint => (server.port === 53 ? (servers[server.host] ?? server) : server)
  return {
    udp: (server, message, signal) => dnsClient.udp(at(server), message, signal),
    tcp: (server, message, signal) => dnsClient.tcp(at(server), message, signal),
  }
}
