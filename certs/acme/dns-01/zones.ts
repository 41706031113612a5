import type { Answer } from '../../../dns/answer.ts'
import { type Stage, Verdict } from '../../../dns/contracts.ts'
import { Failure } from '../../../dns/failure.ts'
import { Flag, HEADER_LENGTH } from '../../../dns/header.ts'
import { localAnswer, OWNER, QUESTION_TAIL, recordOf, uint32 } from '../../../dns/local-answer.ts'
import { lower } from '../../../dns/name.ts'
import type { Query } from '../../../dns/query.ts'
import { parseNameText } from '../../../dns/text-name.ts'
import { Rcode, Type } from '../../../dns/types.ts'
import { TTL_SECONDS } from './record.ts'

/** Seconds: what the delegation says as well. */
const DELEGATION_TTL_SECONDS = 3600
/** RFC 1035 §3.3.13, for secondaries that there are none of. */
const [SERIAL, REFRESH, RETRY, EXPIRE] = [1, 3600, 600, 604_800]

/** A zone, and where to find it. */
export interface ZoneTerms {
  readonly zone: string
  /** The present host of its NS record: the one that the zone above delegates to. */
  readonly nameServer: () => string
}

/** The records of one zone that one solver has. */
export interface ZoneRecords {
  add(name: string, value: string): void
  remove(name: string, value: string): void
  /** Takes the zone away, unless somebody else has it too. */
  close(): void
}

interface Zone {
  readonly terms: ZoneTerms
  own: OwnRecords
  /** TXT values by name; how many solvers have each. */
  readonly values: Map<string, Map<string, number>>
  users: number
}

/** What it says of itself, while its server has this name. */
interface OwnRecords {
  readonly nameServer: string
  readonly soa: Answer
  readonly ns: Answer
  readonly empty: Answer
}

/**
 * Zones that are delegated to the gateway for dns-01, and have nothing but the records of challenges. As if all names in them existed:
 * nobody learns which ones are of use, and what was asked too early denies nothing that stands below (RFC 8020, RFC 9156).
 */
export class ChallengeZones implements Stage {
  readonly name = 'challenge-zones'
  readonly #zones = new Map<string, Zone>()

  /** `nameServer` counts for the first who opens the zone. */
  open(terms: ZoneTerms): ZoneRecords {
    const apex = keyOf(wireOf(terms.zone))
    const zone = this.#zones.get(apex) ?? { terms, own: ownRecords(terms), values: new Map(), users: 0 }
    zone.users++
    this.#zones.set(apex, zone)
    return {
      add: (name, value) => count(zone, keyOf(wireOf(name)), value, 1),
      remove: (name, value) => count(zone, keyOf(wireOf(name)), value, -1),
      close: () => {
        if (--zone.users === 0) this.#zones.delete(apex)
      },
    }
  }

  onQuery(query: Query): Verdict {
    const { wire, questionEnd, qtype } = query
    const name = keyOf(wire.subarray(HEADER_LENGTH, questionEnd - QUESTION_TAIL))
    const [apex, zone] = this.#find(name)
    if (zone === null) {
      query.failure = Failure.not_authoritative
      return Verdict.FAILED
    }
    query.serverFlags = Flag.AA
    // a reload may have given it another name
    if (zone.own.nameServer !== zone.terms.nameServer()) zone.own = ownRecords(zone.terms)
    query.answer = (name === apex ? apexAnswer(zone.own, qtype) : txtAnswer(zone, name, qtype)) ?? zone.own.empty
    return Verdict.ANSWERED
  }

  /** The nearest zone at or above the name. */
  #find(name: string): [apex: string, zone: Zone | null] {
    for (let at = 0; at < name.length; at += 1 + name.charCodeAt(at)) {
      const apex = name.slice(at)
      const zone = this.#zones.get(apex)
      if (zone !== undefined) return [apex, zone]
    }
    return ['', null]
  }
}

/** RFC 8482 §4.1: ANY is answered with one of those that are there. */
function apexAnswer({ soa, ns }: OwnRecords, type: number): Answer | null {
  if (type === Type.NS) return ns
  return type === Type.SOA || type === Type.ANY ? soa : null
}

function txtAnswer({ values }: Zone, name: string, type: number): Answer | null {
  const present = [...(values.get(name)?.keys() ?? [])]
  if (present.length === 0 || (type !== Type.TXT && type !== Type.ANY)) return null
  const records = present.flatMap((value) => recordOf(OWNER, Type.TXT, TTL_SECONDS, [value.length, ...Buffer.from(value, 'latin1')]))
  return localAnswer({ rcode: Rcode.NOERROR, records, answers: present.length, freshness: 0 })
}

function ownRecords(terms: ZoneTerms): OwnRecords {
  const { zone } = terms
  const nameServer = terms.nameServer()
  const apex = wireOf(zone)
  const host = wireOf(nameServer)
  const soa = [...host, ...wireOf(`hostmaster.${zone}`), ...[SERIAL, REFRESH, RETRY, EXPIRE, TTL_SECONDS].flatMap(uint32)]
  const own = (type: number, rdata: readonly number[]): Answer =>
    localAnswer({ rcode: Rcode.NOERROR, records: recordOf(OWNER, type, DELEGATION_TTL_SECONDS, rdata), answers: 1, freshness: 0 })
  return {
    nameServer,
    soa: own(Type.SOA, soa),
    ns: own(Type.NS, [...host]),
    // RFC 2308 §3: the TTL of the SOA record is that of the denial
    empty: localAnswer({
      rcode: Rcode.NOERROR,
      records: recordOf([...apex], Type.SOA, TTL_SECONDS, soa),
      authorities: 1,
      freshness: 0,
    }),
  }
}

function count({ values }: Zone, name: string, value: string, change: number): void {
  const present = values.get(name) ?? new Map<string, number>()
  const users = (present.get(value) ?? 0) + change
  if (users > 0) present.set(value, users)
  else present.delete(value)
  if (present.size > 0) values.set(name, present)
  else values.delete(name)
}

/** RFC 4343 §3: letters without case. Lengths of labels are below all letters. */
function keyOf(name: Uint8Array): string {
  return Buffer.from(name.map(lower)).toString('latin1')
}

function wireOf(name: string): Uint8Array {
  const wire = parseNameText(name)
  if (wire === null) throw new RangeError(`Cannot serve a zone: received ${name}`)
  return wire
}
