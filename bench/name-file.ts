import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { madeUpNames } from './names.ts'
import { NAMES } from './questions.ts'

/** A file in `folder` with all questions, as dnsperf has them. */
export function nameFile(folder: string): string {
  const file = join(folder, 'names')
  const lines = madeUpNames(NAMES).map((name) => `${name} A\n`)
  writeFileSync(file, lines.join(''))
  return file
}
