import { EdnsOption } from './edns.ts'
import { edeText, optionText } from './mnemonics.ts'
import { hex, quoted, readable } from './text-escape.ts'
import { ipv4Text, ipv6Text } from './text-fields.ts'
import type { RecordPlace } from './text-parts.ts'
import { RdataReader } from './text-reader.ts'

/** What an OPT record has in CLASS and TTL (RFC 6891 §6.1.2, §6.1.3). */
export interface EdnsFacts {
  readonly udpSize: number
  /** The upper eight bits of the extended RCODE, in their place. */
  readonly extendedRcode: number
  readonly version: number
  readonly dnssecOk: boolean
  /** The flags besides DO; none has a meaning yet. */
  readonly otherFlags: number
}

export function ednsFacts(opt: RecordPlace): EdnsFacts {
  return {
    udpSize: opt.class,
    extendedRcode: (opt.ttl >>> 24) << 4,
    version: (opt.ttl >>> 16) & 0xff,
    dnssecOk: (opt.ttl & DO) !== 0,
    otherFlags: opt.ttl & 0x7fff,
  }
}

const DO = 0x8000

/** "NAME: value", or the name alone, for each option of an OPT record; null when the list is malformed. */
export function optionTexts(bytes: Uint8Array, opt: RecordPlace): readonly string[] | null {
  return optionsOf(bytes, opt)?.map(({ code, text }) => (text === '' ? optionText(code) : `${optionText(code)}: ${text}`)) ?? null
}

/** Why the answer is as it is (RFC 8914 §2), as often as the OPT record says it. */
export function extendedErrorTexts(bytes: Uint8Array, opt: RecordPlace): readonly string[] {
  return (optionsOf(bytes, opt) ?? []).filter(({ code }) => code === EdnsOption.EDE).map(({ text }) => text)
}

function optionsOf(bytes: Uint8Array, opt: RecordPlace): readonly { readonly code: number; readonly text: string }[] | null {
  const reader = new RdataReader(bytes, opt.rdata, opt.end)
  const options: { code: number; text: string }[] = []
  while (reader.left > 0) {
    const code = reader.u16()
    options.push({ code, text: dataText(code, reader.octets(reader.u16())) })
  }
  return reader.finished ? options : null
}

/** An option whose data is not as its RFC says is shown in hex, like one that is unknown here. */
function dataText(code: number, data: Uint8Array): string {
  const reader = new RdataReader(data, 0, data.length)
  const text = PRINTERS.get(code)?.(reader) ?? null
  return text !== null && reader.finished ? text : hex(data)
}

type OptionPrinter = (reader: RdataReader) => string

const PRINTERS: ReadonlyMap<number, OptionPrinter> = new Map<number, OptionPrinter>([
  [3 /* NSID */, nameServerId],
  [EdnsOption.CLIENT_SUBNET, clientSubnet],
  [9 /* EXPIRE */, (reader) => (reader.left === 0 ? '' : `${reader.u32()} s`)],
  [EdnsOption.KEEPALIVE, (reader) => (reader.left === 0 ? '' : `${(reader.u16() / 10).toFixed(1)} s`)],
  [EdnsOption.PADDING, (reader) => `${reader.octets(reader.left).length} B`],
  [EdnsOption.EDE, extendedError],
])

/** RFC 5001 §2.4: opaque, but mostly text. */
function nameServerId(reader: RdataReader): string {
  const id = reader.octets(reader.left)
  return id.length === 0 ? '' : `${hex(id)} ${quoted(id)}`
}

/** RFC 7871 §6: family, source and scope prefix length, and as many octets of the address as the source prefix needs. */
function clientSubnet(reader: RdataReader): string {
  const family = reader.u16()
  const source = reader.u8()
  const scope = reader.u8()
  const length = family === 1 ? 4 : 16
  if (family !== 1 && family !== 2) reader.fail()
  if (source > 8 * length || scope > 8 * length) reader.fail()
  const address = new Uint8Array(16)
  address.set(reader.octets(Math.min(Math.ceil(source / 8), length)))
  return `${family === 1 ? ipv4Text(address.subarray(0, 4)) : ipv6Text(address)}/${source}/${scope}`
}

/** RFC 8914 §2. */
function extendedError(reader: RdataReader): string {
  const code = reader.u16()
  const text = readable(reader.octets(reader.left))
  return `${code} (${edeText(code)})${text === '' ? '' : `: '${text}'`}`
}
