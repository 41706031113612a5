import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { type LocalCa, openLocalCa } from '../../certs/local-ca.ts'

export const NAMES = ['localhost', 'dns.example.net']
export const ADDRESSES = ['127.0.0.1', '::1', '203.0.113.7']
export const NOW = Date.now()

const home = mkdtempSync(join(tmpdir(), 'atlas-local-ca-'))
after(() => rmSync(home, { recursive: true }))

export interface Start {
  readonly stateDir: string
  readonly names?: readonly string[]
  readonly addresses?: readonly string[]
  readonly now?: number
}

export function start({ stateDir, names = NAMES, addresses = ADDRESSES, now = NOW }: Start): Promise<LocalCa> {
  return openLocalCa({ subdomainsOf: [], stateDir, names, addresses, now })
}

export function emptyState(): string {
  return mkdtempSync(join(home, 'state-'))
}

/** A state directory in which the gateway has started once. */
export async function started(parts: Omit<Start, 'stateDir'> = {}): Promise<{ stateDir: string; ca: LocalCa }> {
  const stateDir = emptyState()
  return { stateDir, ca: await start({ stateDir, ...parts }) }
}

/** Content of every file below, by its path. */
export function files(stateDir: string): Record<string, string> {
  const found = readdirSync(stateDir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const paths = found.map(({ parentPath, name }) => join(parentPath, name))
  return Object.fromEntries(paths.map((path) => [path.slice(stateDir.length + 1), readFileSync(path, 'latin1')]))
}
