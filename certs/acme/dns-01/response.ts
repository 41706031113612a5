import { Flag, flagsOf } from '../../../dns/header.ts'
import { expandName, isAtOrBelow, MAX_NAME_LENGTH, sameName, skipName } from '../../../dns/name.ts'
import { type RecordPlace, readParts } from '../../../dns/text-parts.ts'
import { Class, Rcode, Type } from '../../../dns/types.ts'
import { formatAddress } from '../../../net/address.ts'

/** What a server has said, of class IN; names in wire form. Whatever it says is only looked at, so what is malformed is not there. */
export class Response {
  readonly rcode: number
  readonly isAuthoritative: boolean
  /** Whether it asks others, so that what it does not know is not there. */
  readonly recurses: boolean
  readonly #message: Uint8Array
  readonly #answers: readonly RecordPlace[]
  readonly #authorities: readonly RecordPlace[]

  private constructor(message: Uint8Array, answers: readonly RecordPlace[], authorities: readonly RecordPlace[]) {
    const flags = flagsOf(message)
    this.rcode = flags & Flag.RCODE
    this.isAuthoritative = (flags & Flag.AA) !== 0
    this.recurses = (flags & Flag.RA) !== 0
    this.#message = message
    this.#answers = answers
    this.#authorities = authorities
  }

  /** Null: it cannot be read as a whole. */
  static read(message: Uint8Array): Response | null {
    const parts = readParts(message)
    if (parts === null || parts.malformedAt >= 0) return null
    const ofInternet = (records: readonly RecordPlace[]) => records.filter((record) => record.class === Class.IN)
    return new Response(message, ofInternet(parts.answers), ofInternet(parts.authorities))
  }

  /** Whether it says what there is, or that there is nothing. */
  get isConclusive(): boolean {
    return this.rcode === Rcode.NOERROR || this.rcode === Rcode.NXDOMAIN
  }

  /** What `name` is an alias of. */
  aliasOf(name: Uint8Array): Uint8Array | null {
    return this.#namesAt(name, Type.CNAME)[0] ?? null
  }

  nameServersOf(zone: Uint8Array): readonly Uint8Array[] {
    return this.#namesAt(zone, Type.NS)
  }

  /** The zone in which `name` is, by its SOA record: in a denial that is in the authority section (RFC 2308 §2). */
  zoneOf(name: Uint8Array): Uint8Array | null {
    const soa = [...this.#answers, ...this.#authorities].find(
      ({ type, owner }) => type === Type.SOA && isAtOrBelow(...joined(name, this.#nameAt(owner))),
    )
    return soa === undefined ? null : this.#nameAt(soa.owner)
  }

  /** Whose they are does not matter: the name that was asked for, or what it is an alias of. */
  get addresses(): readonly string[] {
    const lengths = new Map<number, number>([
      [Type.A, 4],
      [Type.AAAA, 16],
    ])
    return this.#answers
      .filter(({ type, rdata, end }) => lengths.get(type) === end - rdata)
      .map(({ rdata, end }) => addressText(this.#message.subarray(rdata, end)))
  }

  /** The TXT records, each with its strings as one (RFC 8555 §8.4 knows no others). */
  get texts(): readonly string[] {
    return this.#answers
      .filter(({ type }) => type === Type.TXT)
      .map(({ rdata, end }) => {
        let text = ''
        for (let at = rdata; at < end; at += 1 + (this.#message[at] ?? 0)) {
          text += Buffer.from(this.#message.subarray(at + 1, Math.min(end, at + 1 + (this.#message[at] ?? 0)))).toString('latin1')
        }
        return text
      })
  }

  #namesAt(owner: Uint8Array, type: number): readonly Uint8Array[] {
    return this.#answers
      .filter((record) => record.type === type && sameName(this.#message, record.owner, owner, 0))
      .filter(({ rdata, end }) => skipName(this.#message, rdata, this.#message.length) === end)
      .map(({ rdata }) => this.#nameAt(rdata))
  }

  #nameAt(at: number): Uint8Array {
    const name = new Uint8Array(MAX_NAME_LENGTH)
    return name.slice(0, expandName(this.#message, at, name, 0))
  }
}

/** The two names in one array of octets, as arguments of isAtOrBelow(). */
function joined(name: Uint8Array, ancestor: Uint8Array): [bytes: Uint8Array, at: number, ancestorAt: number] {
  return [Uint8Array.of(...name, ...ancestor), 0, name.length]
}

function addressText(octets: Uint8Array): string {
  return formatAddress(octets.length === 16 ? octets : Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...octets))
}
