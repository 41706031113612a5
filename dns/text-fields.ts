import { u8 } from './bytes.ts'
import { typeText } from './mnemonics.ts'
import { base32hex, base64, hex, quoted } from './text-escape.ts'
import type { RdataReader } from './text-reader.ts'

/** Reads a field of RDATA and says it in presentation format; an empty text leaves no gap between its neighbours. */
export type Field = (reader: RdataReader) => string

/** Fields one after the other, separated by spaces. */
export function fields(...parts: readonly Field[]): Field {
  return (reader) =>
    parts
      .map((part) => part(reader))
      .filter((text) => text !== '')
      .join(' ')
}

export const number8: Field = (reader) => String(reader.u8())
export const number16: Field = (reader) => String(reader.u16())
export const number32: Field = (reader) => String(reader.u32())
export const name: Field = (reader) => reader.name()
export const compressedName: Field = (reader) => reader.compressedName()
export const typeName: Field = (reader) => typeText(reader.u16())
export const hexRest: Field = (reader) => hex(reader.rest())
export const base64Rest: Field = (reader) => base64(reader.rest())
export const quotedRest: Field = (reader) => quoted(reader.rest())
export const ipv4: Field = (reader) => ipv4Text(reader.octets(4))
export const ipv6: Field = (reader) => ipv6Text(reader.octets(16))

/** RFC 1035 §3.3: a length and as many octets. */
export function characterString(reader: RdataReader): string {
  return quoted(reader.octets(reader.u8()))
}

/** One or more, up to the end (RFC 1035 §3.3.14). */
export function characterStrings(reader: RdataReader): string {
  const texts = [characterString(reader)]
  while (reader.left > 0) texts.push(characterString(reader))
  return texts.join(' ')
}

/** RFC 4034 §3.2: seconds since 1970 as YYYYMMDDHHmmSS. */
export function timestamp(reader: RdataReader): string {
  return new Date(reader.u32() * 1000).toISOString().replaceAll(/\D/g, '').slice(0, 14)
}

/** RFC 5155 §3.3: "-" for no salt. */
export function salt(reader: RdataReader): string {
  const octets = reader.octets(reader.u8())
  return octets.length === 0 ? '-' : hex(octets)
}

/** RFC 5155 §3.2: at least one octet. */
export function nextHashedOwner(reader: RdataReader): string {
  const length = reader.u8()
  if (length === 0) reader.fail()
  return base32hex(reader.octets(length))
}

/** RFC 4034 §4.1.2: blocks of 256 types in ascending order, each with a bitmap of 1 to 32 octets. */
export function typeBitmaps(reader: RdataReader): string {
  const names: string[] = []
  for (let last = -1; reader.left > 0; ) {
    const block = reader.u8()
    const bitmap = reader.octets(reader.u8())
    if (block <= last || bitmap.length === 0 || bitmap.length > 32) reader.fail()
    last = block
    for (let bit = 0; bit < 8 * bitmap.length; bit++) {
      if ((u8(bitmap, bit >>> 3) & (0x80 >>> (bit & 7))) !== 0) names.push(typeText(256 * block + bit))
    }
  }
  return names.join(' ')
}

/** RFC 7043: octets in hex with hyphens between them. */
export function hyphenated(length: number): Field {
  return (reader) => Array.from(reader.octets(length), (octet) => octet.toString(16).padStart(2, '0')).join('-')
}

/** RFC 8659 §4.1: a tag of letters and digits only, and a value that may be empty. */
export function property(reader: RdataReader): string {
  const tag = String.fromCharCode(...reader.octets(reader.u8()))
  if (!/^[a-z0-9]+$/i.test(tag)) reader.fail()
  return `${tag} ${quoted(reader.octets(reader.left))}`
}

export function ipv4Text(octets: Uint8Array): string {
  return octets.join('.')
}

/** RFC 5952, with the dotted form for mapped IPv4 (its §5). */
export function ipv6Text(octets: Uint8Array): string {
  const groups: number[] = []
  for (let i = 0; i + 1 < octets.length; i += 2) groups.push((u8(octets, i) << 8) | u8(octets, i + 1))
  const text = groups.map((group) => group.toString(16)).join(':')
  if (text.startsWith('0:0:0:0:0:ffff:')) return `::ffff:${ipv4Text(octets.subarray(12))}`
  const zeros = longest(text.match(/\b0(?::0)+\b/g) ?? [])
  // §4.2.2: a single group of zeros is not shortened; §4.2.3: the first of equals is
  return zeros === '' ? text : text.replace(new RegExp(`(?:^|:)\\b${zeros}\\b(?:$|:)`), '::')
}

function longest(texts: readonly string[]): string {
  return texts.reduce((best, text) => (text.length > best.length ? text : best), '')
}
