import { parseType } from './mnemonics.ts'
import { hex } from './text-escape.ts'
import * as field from './text-fields.ts'
import { RdataReader } from './text-reader.ts'
import { serviceBinding } from './text-svcb.ts'
import { Class, Type } from './types.ts'

/** A record's place in a message; a RecordView is one. */
export interface RdataPlace {
  readonly type: number
  readonly class: number
  readonly rdata: number
  readonly end: number
}

/** RDATA in presentation format; in the generic form of RFC 3597 §5 when its type is unknown here or it is malformed. */
export function rdataText(bytes: Uint8Array, record: RdataPlace): string {
  return knownRdataText(bytes, record) ?? genericText(bytes.subarray(record.rdata, record.end))
}

/** RDATA in the presentation format of its type; null when the type is unknown here or the RDATA malformed. */
export function knownRdataText(bytes: Uint8Array, record: RdataPlace): string | null {
  const printer = PRINTERS.get(record.type)
  // RFC 1035 §3.4.1: addresses are a matter of class IN; CH has others under the same number
  if (printer === undefined || (record.class !== Class.IN && IN_ONLY.has(record.type))) return null
  const reader = new RdataReader(bytes, record.rdata, record.end)
  const text = printer(reader)
  return reader.finished ? text : null
}

function genericText(octets: Uint8Array): string {
  return octets.length === 0 ? '\\# 0' : `\\# ${octets.length} ${hex(octets)}`
}

const { fields, compressedName, name, number8, number16, number32, typeName, hexRest, base64Rest } = field

/** Key tag, algorithm, digest type, digest. */
const DELEGATION_SIGNER = fields(number16, number8, number8, hexRest)
/** Flags, protocol, algorithm, key. */
const PUBLIC_KEY = fields(number16, number8, number8, base64Rest)
/** Usage, selector, matching type, data. */
const ASSOCIATION = fields(number8, number8, number8, hexRest)
const TWO_NAMES = fields(compressedName, compressedName)
const PREFERENCE = fields(number16, compressedName)
const SIGNATURE_TIMES = fields(field.timestamp, field.timestamp)
const HASHING = fields(number8, number8, number16, field.salt)

const IN_ONLY: ReadonlySet<number> = new Set([Type.A, Type.AAAA])

/** Compressed names only where RFC 3597 §4 tells receivers to expect them. */
const PRINTERS: ReadonlyMap<number, field.Field> = byMnemonic({
  A: field.ipv4,
  NS: compressedName,
  CNAME: compressedName,
  SOA: fields(TWO_NAMES, number32, number32, number32, number32, number32),
  PTR: compressedName,
  HINFO: fields(field.characterString, field.characterString),
  MX: PREFERENCE,
  TXT: field.characterStrings,
  RP: TWO_NAMES,
  AFSDB: PREFERENCE,
  AAAA: field.ipv6,
  SRV: fields(number16, number16, number16, compressedName),
  NAPTR: fields(number16, number16, field.characterString, field.characterString, field.characterString, compressedName),
  DNAME: compressedName,
  DS: DELEGATION_SIGNER,
  SSHFP: fields(number8, number8, hexRest),
  RRSIG: fields(typeName, number8, number8, number32, SIGNATURE_TIMES, number16, name, base64Rest),
  NSEC: fields(name, field.typeBitmaps),
  DNSKEY: PUBLIC_KEY,
  NSEC3: fields(HASHING, field.nextHashedOwner, field.typeBitmaps),
  NSEC3PARAM: HASHING,
  TLSA: ASSOCIATION,
  SMIMEA: ASSOCIATION,
  CDS: DELEGATION_SIGNER,
  CDNSKEY: PUBLIC_KEY,
  OPENPGPKEY: base64Rest,
  CSYNC: fields(number32, number16, field.typeBitmaps),
  ZONEMD: fields(number32, number8, number8, hexRest),
  SVCB: serviceBinding,
  HTTPS: serviceBinding,
  SPF: field.characterStrings,
  URI: fields(number16, number16, field.quotedRest),
  CAA: fields(number8, field.property),
  EUI48: field.hyphenated(6),
  EUI64: field.hyphenated(8),
})

function byMnemonic(printers: Readonly<Record<string, field.Field>>): ReadonlyMap<number, field.Field> {
  return new Map(Object.entries(printers).map(([mnemonic, printer]) => [parseType(mnemonic) as number, printer]))
}
