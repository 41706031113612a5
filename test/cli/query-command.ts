import assert from 'node:assert/strict'
import { Command } from 'commander'
import type { OperationalCode } from '../../dns/operational-error.ts'
import { addQueryCommand } from '../../gateway/cli/query.ts'

/** Everything that the command writes. */
export async function query(...words: string[]): Promise<string> {
  const written: string[] = []
  const program = new Command().exitOverride()
  addQueryCommand(program, (text) => written.push(text))
  await program.parseAsync(['query', ...words], { from: 'user' })
  return written.join('')
}

export async function assertFails(words: string[], message: RegExp, code: OperationalCode = 'ATLAS_QUERY'): Promise<void> {
  await assert.rejects(query(...words), { name: 'OperationalError', code, message })
}
