import type { Answer } from '../../dns/answer.ts'
import { HEADER_LENGTH } from '../../dns/header.ts'
import { localAnswer, OWNER, QUESTION_TAIL, recordOf, uint32 } from '../../dns/local-answer.ts'
import type { Query } from '../../dns/query.ts'
import { parseNameText } from '../../dns/text-name.ts'
import { Rcode, Type } from '../../dns/types.ts'
import type { SpecialZone } from './special-zones.ts'

/** RFC 6303 §3: TTL and negative TTL of locally served zones, seconds. */
const TTL_SECONDS = 10_800
const SOA_CONTACT = parseNameText('nobody.invalid') ?? []
const LOCALHOST = parseNameText('localhost') ?? []

/** What a name has: an answer for each type of which it has records, and one for all others. */
export interface NameContents {
  readonly records: ReadonlyMap<number, Answer>
  readonly none: Answer
}

interface PlaceParts {
  /** In wire form. */
  readonly name: Uint8Array
  readonly at: NameContents
  readonly below: NameContents
  /** Whether a zone begins here that the public DNS knows of. */
  readonly isCut?: boolean
}

/** What is said of a special-use name and of all names below it that have no place of their own. */
export class SpecialPlace {
  readonly name: Uint8Array
  readonly at: NameContents
  readonly below: NameContents
  readonly #isCut: boolean

  constructor({ name, at, below, isCut = false }: PlaceParts) {
    this.name = name
    this.at = at
    this.below = below
    this.#isCut = isCut
  }

  /** For a name that ends with this one. Null: it is not to be answered here. */
  answerTo(query: Query): Answer | null {
    const isHere = query.questionEnd - QUESTION_TAIL - HEADER_LENGTH === this.name.length
    // RFC 8375 §4, RFC 4035 §3.1.4.1: DS is the parent's to deny, and a validator that gets no proof takes all below for bogus
    if (isHere && this.#isCut && query.qtype === Type.DS && query.dnssecOk) return null
    const { records, none } = isHere ? this.at : this.below
    return records.get(query.qtype) ?? none
  }
}

/** How the names of a zone are denied, all with its SOA record (RFC 2308 §2). */
export interface Denials {
  readonly nonexistent: NameContents
  readonly noData: NameContents
}

export function denialsOf({ apex }: SpecialZone): Denials {
  const authority = recordOf([...apex], Type.SOA, TTL_SECONDS, soaOf(apex))
  const denial = (rcode: number): NameContents =>
    contentsOf([], localAnswer({ rcode, records: authority, authorities: 1, freshness: TTL_SECONDS }))
  return { nonexistent: denial(Rcode.NXDOMAIN), noData: denial(Rcode.NOERROR) }
}

/** The places of a zone: its apex, and the names down to its pointer. */
export function placesOf(zone: SpecialZone, { nonexistent, noData }: Denials): readonly SpecialPlace[] {
  const { apex, contents, pointer } = zone
  if (contents === 'absent') return [new SpecialPlace({ name: apex, at: nonexistent, below: nonexistent })]
  if (contents === 'localhost') {
    const addresses = contentsOf(ADDRESSES, noData.none)
    return [new SpecialPlace({ name: apex, at: addresses, below: addresses })]
  }
  // RFC 6303 §3: who sends updates looks for the zone by its SOA and NS records
  const begin: readonly OwnRecord[] = [
    [Type.SOA, soaOf(apex)],
    [Type.NS, OWNER],
  ]
  if (contents === 'blank') return [new SpecialPlace({ name: apex, at: contentsOf(begin, noData.none), below: noData })]
  const isPointer = (name: Uint8Array): boolean => name.length === pointer?.length
  const recordsAt = (name: Uint8Array): readonly OwnRecord[] => [
    ...(isPointer(name) ? POINTER_RECORDS : []),
    ...(name.length === apex.length ? begin : []),
  ]
  return namesDownTo(pointer ?? apex, apex).map(
    (name) =>
      new SpecialPlace({ name, at: contentsOf(recordsAt(name), noData.none), below: nonexistent, isCut: name.length === apex.length }),
  )
}

/** The name and those above it, up to the apex and with it. */
export function namesDownTo(name: Uint8Array, apex: Uint8Array): readonly Uint8Array[] {
  const names: Uint8Array[] = []
  for (let at = 0; name.length - at >= apex.length; at += 1 + (name[at] as number)) names.push(name.subarray(at))
  return names
}

/** Type and data of a record whose owner is the question's name. */
type OwnRecord = readonly [type: number, rdata: readonly number[]]

const ADDRESSES: readonly OwnRecord[] = [
  [Type.A, [127, 0, 0, 1]],
  [Type.AAAA, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]],
]
/** RFC 1912 §4.1: what the loopback addresses are called, as localhost has them for addresses (RFC 6761 §6.3). */
const POINTER_RECORDS: readonly OwnRecord[] = [[Type.PTR, [...LOCALHOST]]]

function contentsOf(records: readonly OwnRecord[], none: Answer): NameContents {
  const answers = new Map<number, Answer>()
  for (const [type, rdata] of records) {
    const answer = localAnswer({
      rcode: Rcode.NOERROR,
      records: recordOf(OWNER, type, TTL_SECONDS, rdata),
      answers: 1,
      freshness: TTL_SECONDS,
    })
    answers.set(type, answer)
    // RFC 8482 §4.1: one of those that are there
    if (!answers.has(Type.ANY)) answers.set(Type.ANY, answer)
  }
  return { records: answers, none }
}

/** RFC 6303 §3. */
function soaOf(apex: Uint8Array): readonly number[] {
  return [...apex, ...SOA_CONTACT, ...[1, 3600, 1200, 604_800, TTL_SECONDS].flatMap((value) => [...uint32(value)])]
}
