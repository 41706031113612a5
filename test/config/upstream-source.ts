import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import type { Config, UpstreamConfig } from '../../gateway/config/config.ts'
import { ConfigError, loadConfig } from '../../gateway/config/load.ts'

const cwd = mkdtempSync(join(tmpdir(), 'atlas-upstreams-'))
after(() => rmSync(cwd, { recursive: true }))

export function load(source: string): Config {
  writeFileSync(join(cwd, 'atlas.yaml'), source)
  return loadConfig({ file: 'atlas.yaml', env: {}, cwd }).config
}

export function only(source: string): UpstreamConfig {
  const [first = assert.fail(), ...others] = load(source).upstreams ?? []
  assert.equal(others.length, 0)
  return first
}

/** All problems of `source`, a line each, without the name of the file. */
export function problems(source: string): readonly string[] {
  try {
    load(source)
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.message.split('\n').map((line) => line.replace(/^atlas\.yaml:/, ''))
  }
  throw new Error('The configuration was accepted')
}

/** What is said of a URL that is none. */
export const URLS = 'expected udp://, tcp://, tls:// or quic:// and host[:port], https:// or h3:// and host[:port][/path]'
/** A file with one entry that has these settings, one a line. */
export function entry(...settings: readonly string[]): string {
  return `upstreams:\n  - name: one\n${settings.map((setting) => `    ${setting}\n`).join('')}`
}
