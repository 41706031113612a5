import { flawOfTicketKey, TICKET_KEY_NAME_LENGTH } from '../../certs/tickets/key.ts'
import { OperationalError } from '../../dns/operational-error.ts'
import { readTextFile } from '../config/text-file.ts'

/** Keys of one file: a lifetime of a day needs three, of the seven days that RFC 8446 §4.6.1 allows at most nobody asks for more than two a day. */
const MAX_KEYS = 16
/** Digits of the key's name: two keys with the same one cannot be told apart. */
const NAME_DIGITS = 2 * TICKET_KEY_NAME_LENGTH

/**
 * The keys of session tickets in a file that several gateways share, hexadecimal: one a line, the first makes tickets, all are
 * accepted; empty lines, and those that begin with "#", say nothing. Throws OperationalError, which repeats no key.
 */
export function readTicketKeys(file: string): readonly string[] {
  const content = readTextFile(file)
  if (content.text === null) throw unusable(file, content.reason)
  const keys: string[] = []
  /** Where the name and the secret of a key were seen. */
  const seen = new Map<string, number>()
  for (const [i, line] of content.text.split(/\r?\n/).entries()) {
    if (/^\s*(?:#|$)/.test(line)) continue
    const key = line.trim().toLowerCase()
    const at = `${file}:${i + 1}:${line.search(/\S/) + 1}`
    const flaw = flawOfTicketKey(key)
    if (flaw !== null) throw unusable(at, flaw)
    const parts = [key.slice(0, NAME_DIGITS), key.slice(NAME_DIGITS)]
    const twin = parts.map((part) => seen.get(part)).find((line) => line !== undefined)
    if (twin !== undefined) throw unusable(at, `expected a key of its own: received parts of the one in line ${twin}`)
    for (const part of parts) seen.set(part, i + 1)
    keys.push(key)
  }
  if (keys.length === 0 || keys.length > MAX_KEYS) throw unusable(file, `expected 1 to ${MAX_KEYS} keys: received ${keys.length}`)
  return keys
}

function unusable(where: string, reason: string): OperationalError {
  return new OperationalError('ATLAS_CONFIG', `Cannot use the session ticket keys in ${where}: ${reason}`)
}
