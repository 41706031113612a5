import assert from 'node:assert/strict'
import { mkdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Holdings, run } from '../harness/real.ts'

const POLICIES = '/etc/chromium/policies/managed'
/** Read after those that are there already, which stay as they are; of two that differ, the last one counts. */
const POLICY = join(POLICIES, 'zz-atlas-dns-test.json')

/** Makes the browser's home in `home` trust a CA, as the README says it. */
export async function trustCa(home: string, ca: string): Promise<void> {
  const database = join(home, '.pki/nssdb')
  mkdirSync(database, { recursive: true })
  for (const task of [
    ['-N', '--empty-password'],
    ['-A', '-t', 'C,,', '-n', 'atlas-dns', '-i', ca],
  ]) {
    const { code, text } = await run('certutil', ['-d', `sql:${database}`, ...task])
    assert.equal(code, 0, text)
  }
}

/** Sets the machine's policy of the browser until the test ends: all of that process too, however it ends but by SIGKILL. */
export function managePolicy(holdings: Holdings, policy: Readonly<Record<string, unknown>>): void {
  const made = mkdirSync(POLICIES, { recursive: true })
  const end = (): void => {
    rmSync(POLICY, { force: true })
    if (made !== undefined) removeUpTo(made)
  }
  holdings.defer(end)
  process.once('exit', end)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
  writeFileSync(POLICY, JSON.stringify(policy))
}

/** The folders that were made for the policy, unless somebody else has put something there. */
function removeUpTo(made: string): void {
  try {
    for (let folder = POLICIES; folder.length >= made.length; folder = dirname(folder)) rmdirSync(folder)
  } catch {
    // gone already, or no longer ours alone
  }
}
