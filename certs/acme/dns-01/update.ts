import { putU16 } from '../../../dns/bytes.ts'
import { Flag, flagsOf, HEADER_LENGTH } from '../../../dns/header.ts'
import { uint32 } from '../../../dns/local-answer.ts'
import { rcodeText } from '../../../dns/mnemonics.ts'
import { nameText, parseNameText } from '../../../dns/text-name.ts'
import { Class, Opcode, Rcode, Type } from '../../../dns/types.ts'
import { type Endpoint, formatEndpoint } from '../../../net/address.ts'
import { askOverTcp, type DnsClient, randomId, type Source } from './client.ts'
import { Directory } from './directory.ts'
import { type ChallengeRecord, ownerText, TTL_SECONDS } from './record.ts'
import { NEVER, type RecordWriter } from './record-solver.ts'
import { signMessage, TsigError, verifyAnswer } from './tsig.ts'
import { readTsigKey, type TsigConfig } from './tsig-key.ts'

export interface UpdateConfig {
  readonly server: Endpoint
  /** Null: the server is asked for it. */
  readonly zone: string | null
  readonly tsig: TsigConfig | null
}

/**
 * The server that takes dynamic updates. Everything goes over TCP: an update is no question that may be lost, or heard twice, and
 * nobody can answer in the server's place before it does (RFC 2136 §2.1 leaves the choice).
 */
export class UpdateServer implements Source {
  readonly name: string
  readonly #server: Endpoint
  readonly #tsig: TsigConfig | null
  readonly #client: DnsClient

  constructor({ server, tsig }: UpdateConfig, client: DnsClient) {
    this.name = formatEndpoint(server)
    this.#server = server
    this.#tsig = tsig
    this.#client = client
  }

  /** Signed, where there is a key: servers may have a view for each key. The answer's signature has been verified. */
  async ask(message: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    if (this.#tsig === null) return askOverTcp({ server: this.#server, message, signal }, this.#client)
    // read each time: whoever changes the secret changes the file
    const key = readTsigKey(this.#tsig)
    const signed = signMessage(message, key, seconds())
    const answer = await askOverTcp({ server: this.#server, message: signed.message, signal }, this.#client)
    const rcode = flagsOf(answer) & Flag.RCODE
    const time = seconds()
    let verified: ReturnType<typeof verifyAnswer>
    try {
      verified = verifyAnswer(answer, { key, requestMac: signed.mac, time })
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error} (${rcodeText(rcode)})`, { cause: error })
    }
    if (verified.error !== 0) throw new Error(tsigReason(this.#tsig, verified, time))
    return answer
  }
}

/** Makes and removes the record by dynamic updates (RFC 2136). */
export class UpdateWriter implements RecordWriter {
  readonly #server: UpdateServer
  readonly #zone: Uint8Array | null
  readonly #directory: Directory

  constructor({ zone }: UpdateConfig, server: UpdateServer) {
    this.#server = server
    this.#zone = zone === null ? null : parseNameText(zone)
    this.#directory = new Directory(() => [server])
  }

  async write(record: ChallengeRecord, signal: AbortSignal): Promise<void> {
    // RFC 2136 §2.5.1: added to the RRset
    await this.#update(record, { class: Class.IN, ttl: TTL_SECONDS }, signal)
  }

  async erase(record: ChallengeRecord): Promise<void> {
    // RFC 2136 §2.5.4: this record alone, if it is there
    await this.#update(record, { class: Class.NONE, ttl: 0 }, NEVER)
  }

  async #update(record: ChallengeRecord, terms: UpdateTerms, signal: AbortSignal): Promise<void> {
    const zone = this.#zone ?? (await this.#directory.zoneOf(record.owner, signal))
    const answer = await this.#server.ask(updateMessage(zone, record, terms), signal).catch((error: unknown) => {
      throw new Error(`the server ${this.#server.name} has not taken the update: ${error instanceof Error ? error.message : error}`)
    })
    const rcode = flagsOf(answer) & Flag.RCODE
    if (rcode === Rcode.NOERROR) return
    throw new Error(`the server ${this.#server.name} has not taken the update: ${rcodeReason(rcode, zone, record)}`)
  }
}

interface UpdateTerms {
  readonly class: number
  readonly ttl: number
}

/** RFC 2136 §2: the zone, no prerequisites, one record. */
function updateMessage(zone: Uint8Array, { owner, value }: ChallengeRecord, terms: UpdateTerms): Uint8Array {
  const rdata = [value.length, ...Buffer.from(value, 'latin1')]
  const record = [...owner, 0, Type.TXT, 0, terms.class, ...uint32(terms.ttl), 0, rdata.length, ...rdata]
  const message = Uint8Array.of(...new Uint8Array(HEADER_LENGTH), ...zone, 0, Type.SOA, 0, Class.IN, ...record)
  putU16(message, 0, randomId())
  putU16(message, 2, Opcode.UPDATE << 11)
  putU16(message, 4, 1)
  putU16(message, 8, 1)
  return message
}

/** RFC 2136 §2.2, and what to look at. */
function rcodeReason(rcode: number, zone: Uint8Array, record: ChallengeRecord): string {
  const [zoneText, owner] = [nameText(zone, 0), ownerText(record)]
  const reasons = new Map<number, string>([
    [Rcode.REFUSED, `its policy does not let this key change ${owner} TXT`],
    [Rcode.NOTAUTH, `it is not the primary of the zone ${zoneText}: check update and zone`],
    [Rcode.NOTZONE, `${owner} is not in the zone ${zoneText}: check zone`],
    [Rcode.NOTIMP, 'it takes no updates'],
    [Rcode.SERVFAIL, `it cannot change the zone ${zoneText}: its log says why`],
  ])
  const reason = reasons.get(rcode)
  return reason === undefined ? rcodeText(rcode) : `${rcodeText(rcode)}: ${reason}`
}

/** RFC 8945 §5.2, and what to look at. */
function tsigReason(
  { name, algorithm, secretFile }: TsigConfig,
  verified: { error: number; serverTime: number | null },
  now: number,
): string {
  switch (verified.error) {
    case TsigError.BADKEY:
      return `BADKEY: it does not know the key ${name} with ${algorithm}: check tsig.name and tsig.algorithm`
    case TsigError.BADSIG:
      return `BADSIG: it has another secret for the key ${name}: check ${secretFile}`
    case TsigError.BADTIME: {
      const difference = verified.serverTime === null ? '' : ` by ${Math.abs(verified.serverTime - now)} s`
      return `BADTIME: the clocks differ${difference}: set them by NTP`
    }
    case TsigError.BADTRUNC:
      return `BADTRUNC: it wants longer signatures than those of ${algorithm}: check tsig.algorithm`
    default:
      return `TSIG error ${verified.error}`
  }
}

function seconds(): number {
  return Math.floor(Date.now() / 1000)
}
