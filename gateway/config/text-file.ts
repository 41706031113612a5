import { isUtf8 } from 'node:buffer'
import { closeSync, openSync, readSync } from 'node:fs'
import { reasonOf } from '../../dns/operational-error.ts'
import { MAX_FILE_BYTES } from './knobs.ts'

export type TextFile =
  | { readonly text: string }
  | {
      readonly text: null
      /** "expected …: received …" */
      readonly reason: string
      /** The text up to the place that is wrong; null where the file as a whole is. */
      readonly before: string | null
    }

/** UTF-8 text of at most MAX_FILE_BYTES, without its byte-order mark. Pipes are read too ("--config <(…)"). */
export function readTextFile(path: string): TextFile {
  let bytes: Buffer
  try {
    bytes = readUpTo(path, MAX_FILE_BYTES + 1)
  } catch (error) {
    return { text: null, reason: unreadable(error), before: null }
  }
  if (bytes.length > MAX_FILE_BYTES) {
    return { text: null, reason: `expected at most ${MAX_FILE_BYTES} bytes (1 MiB): received more`, before: null }
  }
  const text = new TextDecoder().decode(bytes)
  if (isUtf8(bytes)) return { text }
  return { text: null, reason: 'expected UTF-8 text: received bytes in another encoding', before: text.slice(0, text.indexOf('\ufffd')) }
}

/** A limit on what is read, not on the size: pipes and /proc files tell none. */
function readUpTo(path: string, limit: number): Buffer {
  const file = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(limit)
    let length = 0
    for (;;) {
      const read = readSync(file, bytes, length, limit - length, null)
      length += read
      if (read === 0) return bytes.subarray(0, length)
    }
  } finally {
    closeSync(file)
  }
}

function unreadable(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : null
  if (code === 'EISDIR') return 'expected a file: received a directory'
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'expected a file: received a path that does not exist'
  return `expected a readable file: received ${reasonOf(error)}`
}
