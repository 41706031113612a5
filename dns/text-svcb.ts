import { base64, quoted } from './text-escape.ts'
import { type Field, ipv4, ipv6 } from './text-fields.ts'
import type { RdataReader } from './text-reader.ts'

/** SvcPriority, TargetName and SvcParams of SVCB and HTTPS (RFC 9460 §2.1 and §2.2). */
export function serviceBinding(reader: RdataReader): string {
  const texts = [String(reader.u16()), reader.name()]
  for (let last = -1; reader.left > 0; ) {
    const key = reader.u16()
    const value = reader.slice(reader.u16())
    // RFC 9460 §2.2: in strictly increasing order, so that no key comes twice
    if (key <= last) reader.fail()
    last = key
    texts.push(parameter(key, value))
    if (!value.finished) reader.fail()
  }
  return texts.join(' ')
}

function parameter(key: number, value: RdataReader): string {
  const text = (PRINTERS.get(key) ?? opaque)(value)
  return text === '' ? keyName(key) : `${keyName(key)}=${text}`
}

/** RFC 9460 §14.3.2, RFC 9461 §5, RFC 9540 §4. */
const KEYS = ['mandatory', 'alpn', 'no-default-alpn', 'port', 'ipv4hint', 'ech', 'ipv6hint', 'dohpath', 'ohttp']

const PRINTERS = new Map<number, Field>([
  [0, list((reader) => keyName(reader.u16()))],
  [1, protocols],
  [2, nothing],
  [3, (reader) => String(reader.u16())],
  [4, list(ipv4)],
  [5, (reader) => base64(reader.rest())],
  [6, list(ipv6)],
  [7, (reader) => quoted(reader.rest())],
  [8, nothing],
])

function keyName(key: number): string {
  return KEYS[key] ?? `key${key}`
}

/** One or more, separated by commas. */
function list(item: Field): Field {
  return (reader) => {
    const texts = [item(reader)]
    while (reader.left > 0) texts.push(item(reader))
    return texts.join(',')
  }
}

/** RFC 9460 §7.1.1 and appendix A.1: a comma within a protocol's name is escaped for the list, then all for the string. */
function protocols(reader: RdataReader): string {
  const octets: number[] = []
  do {
    const protocol = reader.octets(reader.u8())
    if (protocol.length === 0) reader.fail()
    if (octets.length > 0) octets.push(COMMA)
    for (const octet of protocol) octets.push(...(octet === COMMA || octet === BACKSLASH ? [BACKSLASH, octet] : [octet]))
  } while (reader.left > 0)
  return quoted(Uint8Array.from(octets))
}

const COMMA = 0x2c
const BACKSLASH = 0x5c

/** A key without a value; one that is there makes the record malformed. */
function nothing(): string {
  return ''
}

function opaque(reader: RdataReader): string {
  return reader.left === 0 ? '' : quoted(reader.rest())
}
