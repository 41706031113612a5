import { domainToASCII } from 'node:url'
import { parseType } from '../../dns/mnemonics.ts'
import { buildQuery } from '../../dns/query-writer.ts'
import { parseNameText } from '../../dns/text-name.ts'
import { Class, Type } from '../../dns/types.ts'
import { parameters } from './parameters.ts'

/** Of a name in presentation format: 255 octets, each as \DDD. */
const MAX_NAME_TEXT = 1024
/** What our own answer may have; it is turned into text at once. */
const UDP_SIZE = 1232
const NON_ASCII = /[^ -~]/
const SWITCH: ReadonlyMap<string, boolean> = new Map([
  ['1', true],
  ['true', true],
  ['0', false],
  ['false', false],
  ['', false],
])

/** Whether a query component asks for JSON: it has a name, and no message. */
export function isJsonForm(query: string): boolean {
  return query.includes('name') && parameters(query, 'name').length > 0 && parameters(query, 'dns').length === 0
}

/** The message that "?name=&type=&do=&cd=" asks for; null when one of them is not understood. Unknown parameters are ignored. */
export function messageOfForm(query: string): Uint8Array | null {
  const one = (name: string): string | null => {
    const values = parameters(query, name)
    return values.length > 1 ? null : (values[0] ?? '')
  }
  const name = parseName(one('name'))
  const type = parseTypeText(one('type'))
  const dnssecOk = SWITCH.get(one('do')?.toLowerCase() ?? '?')
  const checkingDisabled = SWITCH.get(one('cd')?.toLowerCase() ?? '?')
  if (name === null || type === null || dnssecOk === undefined || checkingDisabled === undefined) return null
  const edns = { udpSize: UDP_SIZE, dnssecOk, padding: false }
  return buildQuery({ id: 0, name, type, class: Class.IN, recursionDesired: true, checkingDisabled, edns })
}

function parseName(text: string | null): Uint8Array | null {
  if (text === null || text.length > MAX_NAME_TEXT) return null
  return parseNameText(NON_ASCII.test(text) ? domainToASCII(text) : text)
}

/** A number or a name; A when there is none. */
function parseTypeText(text: string | null): number | null {
  if (text === null) return null
  if (text === '') return Type.A
  return parseType(/^\d{1,5}$/.test(text) ? `TYPE${text}` : text)
}
