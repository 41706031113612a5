import { u16 } from './bytes.ts'
import { Flag, flagsOf, opcodeOf } from './header.ts'
import { classText, typeText } from './mnemonics.ts'
import { optionTexts } from './text-edns.ts'
import { hex } from './text-escape.ts'
import { nameText } from './text-name.ts'
import { type QuestionPlace, type RecordPlace, readParts } from './text-parts.ts'
import { knownRdataText } from './text-rdata.ts'
import { Type } from './types.ts'

/** RFC 8427 §2.1. Bits are 0 or 1, as in its examples. */
export interface JsonMessage {
  readonly ID: number
  readonly QR: number
  readonly Opcode: number
  readonly AA: number
  readonly TC: number
  readonly RD: number
  readonly RA: number
  readonly AD: number
  readonly CD: number
  /** That of the header, without the bits of an OPT record. */
  readonly RCODE: number
  readonly QDCOUNT: number
  readonly ANCOUNT: number
  readonly NSCOUNT: number
  readonly ARCOUNT: number
  readonly questionRRs: readonly JsonQuestion[]
  readonly answerRRs: readonly JsonRecord[]
  readonly authorityRRs: readonly JsonRecord[]
  readonly additionalRRs: readonly JsonRecord[]
}

/** RFC 8427 §2.4, §2.5: what is left to say of a message that cannot be read to its end. */
export interface JsonOctets {
  readonly messageOctetsHEX: string
  readonly comment: string
}

export interface JsonQuestion {
  readonly NAME: string
  readonly TYPE: number
  readonly TYPEname: string
  readonly CLASS: number
  /** Absent for OPT, whose CLASS is no class (RFC 6891 §6.1.2). */
  readonly CLASSname?: string
}

/** RFC 8427 §2.2. */
export interface JsonRecord extends JsonQuestion {
  readonly TTL: number
  readonly RDLENGTH: number
  readonly RDATAHEX: string
  /** RFC 8427 §2.3: presentation format, where the type is known and the RDATA well-formed. */
  readonly [rdata: `rdata${string}`]: string
}

/** A message as an object with the members of RFC 8427; its octets when it is malformed. Texts have no control characters. */
export function messageJson(bytes: Uint8Array): JsonMessage | JsonOctets {
  const parts = readParts(bytes)
  if (parts === null || parts.malformedAt >= 0) {
    return { messageOctetsHEX: hex(bytes), comment: `malformed: cannot be read from octet ${parts?.malformedAt ?? 0} on` }
  }
  return {
    ...headerJson(bytes),
    questionRRs: parts.questions.map((question) => questionJson(bytes, question)),
    answerRRs: parts.answers.map((record) => recordJson(bytes, record)),
    authorityRRs: parts.authorities.map((record) => recordJson(bytes, record)),
    additionalRRs: parts.additionals.map((record) => recordJson(bytes, record)),
  }
}

function headerJson(bytes: Uint8Array) {
  const flags = flagsOf(bytes)
  const bit = (mask: number) => ((flags & mask) === 0 ? 0 : 1)
  return {
    ID: u16(bytes, 0),
    QR: bit(Flag.QR),
    Opcode: opcodeOf(flags),
    AA: bit(Flag.AA),
    TC: bit(Flag.TC),
    RD: bit(Flag.RD),
    RA: bit(Flag.RA),
    AD: bit(Flag.AD),
    CD: bit(Flag.CD),
    RCODE: flags & Flag.RCODE,
    QDCOUNT: u16(bytes, 4),
    ANCOUNT: u16(bytes, 6),
    NSCOUNT: u16(bytes, 8),
    ARCOUNT: u16(bytes, 10),
  }
}

function questionJson(bytes: Uint8Array, { owner, type, class: klass }: QuestionPlace): JsonQuestion {
  const named = { NAME: nameText(bytes, owner) ?? '', TYPE: type, TYPEname: typeText(type), CLASS: klass }
  return type === Type.OPT ? named : { ...named, CLASSname: classText(klass) }
}

function recordJson(bytes: Uint8Array, record: RecordPlace): JsonRecord {
  const text = record.type === Type.OPT ? (optionTexts(bytes, record)?.join('; ') ?? null) : knownRdataText(bytes, record)
  return {
    ...questionJson(bytes, record),
    TTL: record.ttl,
    RDLENGTH: record.end - record.rdata,
    RDATAHEX: hex(bytes.subarray(record.rdata, record.end)),
    ...(text === null ? {} : { [`rdata${typeText(record.type)}`]: text }),
  }
}
