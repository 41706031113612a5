import { randomBytes } from 'node:crypto'
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { OperationalError, reasonOf } from '../../dns/operational-error.ts'
import { digestOf, tokenPath } from '../../net/token.ts'
import { HOLDER_NAME, readAccessTokens, tokenLine } from '../assembly/access-tokens.ts'
import type { Config } from '../config/config.ts'
import { loadConfig } from '../config/load.ts'
import type { Line } from './lines.ts'
import type { Output } from './output.ts'
import { portSuffix } from './start-text.ts'
import type { TokenOptions } from './token.ts'

/** RFC 4648 §6 in lower case: no two look alike in speech, and all may stand in a host name. */
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'
/** 130 bits. */
const TOKEN_LENGTH = 26
const OWNER_ONLY = 0o600

/** Makes a token, adds its SHA-256 to the file, and shows the token with where it goes. Throws OperationalError. */
export function runToken(name: string, options: TokenOptions, output: Output): void {
  if (!HOLDER_NAME.test(name))
    throw usage(`<name>: expected at most 64 letters, digits, ".", "_", "@" and "-": received ${JSON.stringify(name)}`)
  const config = options.config === undefined ? null : readConfig(options.config)
  const file = options.file ?? config?.access.tokenFile ?? null
  if (file === null) throw usage('expected --file, or a --config whose access.tokens names the file')
  if (existsSync(file) && readAccessTokens(file).some((entry) => entry.name === name))
    throw new OperationalError(
      'ATLAS_CONFIG',
      `Cannot make a token for ${name}: ${file} has one: take its line out first, or choose another name`,
    )
  const token = makeToken()
  append(file, tokenLine({ name, digest: digestOf(token) }))
  output.lines(report(token, { file, config }))
}

function readConfig(file: string): Config {
  return loadConfig({ file, env: process.env, cwd: process.cwd() }).config
}

function makeToken(): string {
  // 32 divides 256: all letters are equally likely
  return Array.from(randomBytes(TOKEN_LENGTH), (octet) => ALPHABET[octet % ALPHABET.length]).join('')
}

/** In one write: the gateway may be reading the file, which keeps its owner and mode. */
function append(file: string, line: string): void {
  try {
    const before = existsSync(file) ? readFileSync(file, 'utf8') : ''
    const gap = before === '' || before.endsWith('\n') ? '' : '\n'
    appendFileSync(file, `${gap}${line}\n`, { mode: OWNER_ONLY })
  } catch (error) {
    throw new OperationalError('ATLAS_CONFIG', `Cannot add the token to ${file}: ${reasonOf(error)}`, error)
  }
}

function report(token: string, { file, config }: { file: string; config: Config | null }): readonly Line[] {
  const name = config?.public.name ?? null
  const rows = [
    ['token', token],
    ...(config === null ? [] : addressesOf(token, { ...config, name })),
    ['kept', `its SHA-256, in ${file}; the token itself nowhere: it is shown this once`],
    ['in force', config?.access.tokenFile === file ? 'from the next `atlas-dns reload` on' : `once access.tokens names ${file}`],
  ]
  return rows.map(([label = '', value = '']) => `${label.padEnd(16)}${value}`)
}

/** What to paste into clients. */
function addressesOf(
  token: string,
  { name, doh, listen, public: { ports } }: Config & { name: string | null },
): readonly (readonly string[])[] {
  const [path = '/'] = doh.paths
  const port = ports.doh ?? listen.doh.find(({ cleartext }) => !cleartext)?.endpoint.port ?? 443
  const url = `https://${name ?? 'localhost'}${portSuffix(port, 443)}${tokenPath(path, token)}`
  return [
    ...(listen.doh.length === 0 ? [] : [['DNS over HTTPS', url]]),
    ...(listen.dot.length === 0
      ? []
      : [['DNS over TLS', name === null ? 'needs public.name, below which the token is a name' : `${token}.${name}`]]),
  ]
}

function usage(reason: string): OperationalError {
  return new OperationalError('ATLAS_USAGE', `Cannot make a token: ${reason}`)
}
