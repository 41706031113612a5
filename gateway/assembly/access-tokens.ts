import { OperationalError } from '../../dns/operational-error.ts'
import type { TokenEntry } from '../../net/token.ts'
import { show } from '../config/problem.ts'
import { readTextFile } from '../config/text-file.ts'

/** What an operator may call the holder of a token: it stands in logs. */
export const HOLDER_NAME = /^[\w.@-]{1,64}$/
const DIGEST = /^sha256:([0-9a-f]{64})$/i

/** One line of the file. */
export function tokenLine({ name, digest }: TokenEntry): string {
  return `${name} sha256:${digest}`
}

/** The tokens of a file: lines of a name and a digest, some 12,000 at most; empty ones, and those that begin with "#", say nothing. Throws OperationalError. */
export function readAccessTokens(file: string): readonly TokenEntry[] {
  const content = readTextFile(file)
  if (content.text === null) throw unusable(file, content.reason)
  const entries = new Map<string, TokenEntry>()
  const names = new Map<string, number>()
  for (const [i, line] of content.text.split(/\r?\n/).entries()) {
    const entry = readLine(line, `${file}:${i + 1}`)
    if (entry === null) continue
    const { name, digest } = entry
    const column = line.indexOf(name) + 1
    const earlier = names.get(name)
    if (earlier !== undefined)
      throw unusable(`${file}:${i + 1}:${column}`, `expected each name once: received ${show(name)}, as in line ${earlier}`)
    const twin = entries.get(digest)
    if (twin !== undefined)
      throw unusable(`${file}:${i + 1}:${column}`, `expected a token of its own: received the one of ${show(twin.name)}`)
    names.set(name, i + 1)
    entries.set(digest, entry)
  }
  return [...entries.values()]
}

/** Null: it says nothing. */
function readLine(line: string, at: string): TokenEntry | null {
  if (/^\s*(?:#|$)/.test(line)) return null
  const words = [...line.matchAll(/\S+/g)]
  const [name, digest, more] = words
  if (name === undefined || !HOLDER_NAME.test(name[0]))
    throw unusable(`${at}:${column(name)}`, 'expected a name of at most 64 letters, digits, ".", "_", "@" and "-": received others')
  // not repeated: it may be the token itself
  const hexadecimal = digest === undefined ? null : DIGEST.exec(digest[0])
  if (hexadecimal === null)
    throw unusable(
      `${at}:${column(digest)}`,
      'expected sha256: and the 64 hexadecimal digits of a token (atlas-dns token): received others',
    )
  if (more !== undefined) throw unusable(`${at}:${column(more)}`, 'expected the end of the line: received more')
  return { name: name[0], digest: (hexadecimal[1] ?? '').toLowerCase() }
}

function column(word: RegExpMatchArray | undefined): number {
  return (word?.index ?? 0) + 1
}

function unusable(where: string, reason: string): OperationalError {
  return new OperationalError('ATLAS_CONFIG', `Cannot use the access tokens in ${where}: ${reason}`)
}
