import { Flag, flagsOf } from './header.ts'
import { ednsFacts, extendedErrorTexts } from './text-edns.ts'
import { nameText } from './text-name.ts'
import { type QuestionPlace, type RecordPlace, readParts } from './text-parts.ts'
import { rdataText } from './text-rdata.ts'
import { Type } from './types.ts'

/** What "?name=" answers, with the members that public resolvers have (developers.google.com/speed/public-dns/docs/doh/json). Empty sections are missing. */
export interface ResolveJson {
  /** RCODE, the bits of an OPT record included. */
  readonly Status: number
  readonly TC: boolean
  readonly RD: boolean
  readonly RA: boolean
  readonly AD: boolean
  readonly CD: boolean
  readonly Question: readonly { readonly name: string; readonly type: number }[]
  readonly Answer?: readonly ResolveRecord[]
  readonly Authority?: readonly ResolveRecord[]
  readonly Additional?: readonly ResolveRecord[]
  /** RFC 8914: why it is not as expected. */
  readonly Comment?: string
}

export interface ResolveRecord {
  readonly name: string
  readonly type: number
  readonly TTL: number
  /** Presentation format; \# and hexadecimal digits where the type is unknown (RFC 3597 §5). */
  readonly data: string
}

/** A message of our own as an object; it is well-formed. */
export function resolveJson(message: Uint8Array): ResolveJson {
  const parts = readParts(message)
  const flags = flagsOf(message)
  const bit = (mask: number) => (flags & mask) !== 0
  const { opt = null } = parts ?? {}
  const records = (places: readonly RecordPlace[] = []) =>
    places.filter(({ type }) => type !== Type.OPT).map((place) => recordJson(message, place))
  const comments = opt === null ? [] : extendedErrorTexts(message, opt)
  return {
    Status: (flags & Flag.RCODE) | (opt === null ? 0 : ednsFacts(opt).extendedRcode),
    TC: bit(Flag.TC),
    RD: bit(Flag.RD),
    RA: bit(Flag.RA),
    AD: bit(Flag.AD),
    CD: bit(Flag.CD),
    Question: (parts?.questions ?? []).map((place) => questionJson(message, place)),
    ...section('Answer', records(parts?.answers)),
    ...section('Authority', records(parts?.authorities)),
    ...section('Additional', records(parts?.additionals)),
    ...(comments.length > 0 && { Comment: comments.join('; ') }),
  }
}

function section(name: 'Answer' | 'Authority' | 'Additional', records: readonly ResolveRecord[]) {
  return records.length > 0 ? { [name]: records } : {}
}

function questionJson(message: Uint8Array, { owner, type }: QuestionPlace) {
  return { name: nameText(message, owner) ?? '', type }
}

function recordJson(message: Uint8Array, record: RecordPlace): ResolveRecord {
  return { name: nameText(message, record.owner) ?? '', type: record.type, TTL: record.ttl, data: rdataText(message, record) }
}
