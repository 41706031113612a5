import { u16 } from './bytes.ts'
import { Flag, flagsOf, opcodeOf } from './header.ts'
import { classText, opcodeText, rcodeText, typeText } from './mnemonics.ts'
import { ednsFacts, optionTexts } from './text-edns.ts'
import { hex } from './text-escape.ts'
import { nameText } from './text-name.ts'
import { type MessageParts, type QuestionPlace, type RecordPlace, readParts } from './text-parts.ts'
import { rdataText } from './text-rdata.ts'

/**
 * A message for people, as kdig shows it. Never fails and has no control characters but line feeds and tabs, whatever the
 * message has: one that is malformed is shown as far as it can be read, with a note.
 */
export function messageText(bytes: Uint8Array): string {
  const parts = readParts(bytes)
  if (parts === null) return `;; Malformed: ${bytes.length} octets are no DNS message: ${hex(bytes)}\n`
  const { opt } = parts
  const questions = parts.questions.map((question) => questionLine(bytes, question))
  const records = (places: readonly RecordPlace[]) => places.filter((record) => record !== opt).map((record) => recordLine(bytes, record))
  const blocks = [
    headerLines(bytes, parts),
    ...(opt === null ? [] : [ednsLines(bytes, opt, extendedRcode(bytes, opt))]),
    ...sectionLines('QUESTION', questions),
    ...sectionLines('ANSWER', records(parts.answers)),
    ...sectionLines('AUTHORITY', records(parts.authorities)),
    ...sectionLines('ADDITIONAL', records(parts.additionals)),
  ]
  if (parts.malformedAt >= 0) blocks.push([`;; Malformed: cannot be read from octet ${parts.malformedAt} of ${bytes.length} on`])
  return `${blocks.map((lines) => lines.join('\n')).join('\n\n')}\n`
}

/** RDATA of the answer section, one line per record: all that a script wants. */
export function answerTexts(bytes: Uint8Array): readonly string[] {
  return readParts(bytes)?.answers.map((record) => rdataText(bytes, record)) ?? []
}

/** Offset at which a message cannot be read any further; -1 when all of it can. */
export function malformedAt(bytes: Uint8Array): number {
  return readParts(bytes)?.malformedAt ?? 0
}

/** The RCODE with the bits that the OPT record adds (RFC 6891 §6.1.3). */
function extendedRcode(bytes: Uint8Array, opt: RecordPlace | null): number {
  return (flagsOf(bytes) & Flag.RCODE) | (opt === null ? 0 : ednsFacts(opt).extendedRcode)
}

/** RFC 1035 §4.1.1, RFC 4035 §3.1.6 and §3.2.2; the last one must be zero. */
const FLAGS = [
  [Flag.QR, 'qr'],
  [0x0400, 'aa'],
  [Flag.TC, 'tc'],
  [Flag.RD, 'rd'],
  [Flag.RA, 'ra'],
  [0x0040, 'z'],
  [0x0020, 'ad'],
  [Flag.CD, 'cd'],
] as const

function headerLines(bytes: Uint8Array, parts: MessageParts): string[] {
  const flags = flagsOf(bytes)
  const names = FLAGS.filter(([bit]) => (flags & bit) !== 0).map(([, name]) => ` ${name}`)
  const counts = ['QUERY', 'ANSWER', 'AUTHORITY', 'ADDITIONAL'].map((section, i) => `${section}: ${u16(bytes, 4 + 2 * i)}`)
  return [
    `;; ->>HEADER<<- opcode: ${opcodeText(opcodeOf(flags))}; status: ${rcodeText(extendedRcode(bytes, parts.opt))}; id: ${u16(bytes, 0)}`,
    `;; Flags:${names.join('')}; ${counts.join('; ')}`,
  ]
}

function ednsLines(bytes: Uint8Array, opt: RecordPlace, rcode: number): string[] {
  const edns = ednsFacts(opt)
  const flags = `${edns.dnssecOk ? ' do' : ''}${edns.otherFlags === 0 ? '' : ` 0x${edns.otherFlags.toString(16)}`}`
  const options = optionTexts(bytes, opt) ?? [`Malformed options: ${hex(bytes.subarray(opt.rdata, opt.end))}`]
  return [
    ';; EDNS PSEUDOSECTION:',
    `;; Version: ${edns.version}; flags:${flags}; UDP size: ${edns.udpSize} B; ext-rcode: ${rcodeText(rcode)}`,
    ...options.map((option) => `;; ${option}`),
  ]
}

function sectionLines(title: string, lines: readonly string[]): string[][] {
  return lines.length === 0 ? [] : [[`;; ${title} SECTION:`, ...lines]]
}

function questionLine(bytes: Uint8Array, { owner, type, class: klass }: QuestionPlace): string {
  return `;; ${ownerColumn(bytes, owner)}\t\t${classText(klass)}\t${typeText(type)}`
}

function recordLine(bytes: Uint8Array, record: RecordPlace): string {
  const { owner, ttl, type } = record
  return `${ownerColumn(bytes, owner)}\t${ttl}\t${classText(record.class)}\t${typeText(type)}\t${rdataText(bytes, record)}`
}

function ownerColumn(bytes: Uint8Array, owner: number): string {
  return (nameText(bytes, owner) ?? '').padEnd(20)
}
