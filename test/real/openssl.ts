import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Holdings, run, start } from '../harness/real.ts'

/** PEM files of a CA. */
export interface CaFiles {
  readonly cert: string
  readonly key: string
}

export interface LeafParts {
  readonly issuer: CaFiles
  /** As `openssl` writes them: "DNS:a,IP:192.0.2.1". */
  readonly names: string
  /** With an even number of hexadecimal digits, as indexes of openssl have it. */
  readonly serial: number
  readonly isRsa?: boolean
  /** URL of an OCSP responder. */
  readonly responder?: string
}

/** PEM files of a certificate: of the leaf alone, and of its chain. */
export interface LeafFiles extends CaFiles {
  readonly chain: string
}

const EC = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']
const RSA = ['rsa:2048']

async function make(holdings: Holdings, name: string, args: readonly string[]): Promise<CaFiles> {
  const [config, cert, key] = ['req.cnf', `${name}.pem`, `${name}.key`].map((file) => join(holdings.folder, file)) as [
    string,
    string,
    string,
  ]
  // without the extensions that the system's own file adds
  writeFileSync(config, '[req]\ndistinguished_name = name\n[name]\n')
  const own = ['-config', config, '-x509', '-noenc', '-days', '2', '-subj', `/CN=${name}`, '-out', cert, '-keyout', key]
  const { code, text } = await run('openssl', ['req', ...own, ...args])
  assert.equal(code, 0, text)
  return { cert, key }
}

export function makeCa(holdings: Holdings, name: string): Promise<CaFiles> {
  return make(holdings, name, ['-newkey', ...EC, '-addext', 'basicConstraints=critical,CA:TRUE'])
}

/** A certificate whose subject is `name`, which is the name of its files too. */
export async function makeLeaf(holdings: Holdings, name: string, parts: LeafParts): Promise<LeafFiles> {
  const { issuer, names, serial, isRsa = false, responder } = parts
  const signed = ['-CA', issuer.cert, '-CAkey', issuer.key, '-set_serial', String(serial)]
  const extensions = ['basicConstraints=critical,CA:FALSE', `subjectAltName=${names}`]
  if (responder !== undefined) extensions.push(`authorityInfoAccess=OCSP;URI:${responder}`)
  const added = extensions.flatMap((extension) => ['-addext', extension])
  const leaf = await make(holdings, name, ['-newkey', ...(isRsa ? RSA : EC), ...signed, ...added])
  const chain = join(holdings.folder, `${name}-chain.pem`)
  writeFileSync(chain, [leaf.cert, issuer.cert].map((file) => readFileSync(file, 'utf8')).join(''))
  return { ...leaf, chain }
}

/** A responder that says of the certificates with these serial numbers that they are good, for an hour, until the test ends. */
export async function startResponder(
  holdings: Holdings,
  port: number,
  { issuer, serials }: { issuer: CaFiles; serials: readonly number[] },
): Promise<void> {
  const index = join(holdings.folder, 'index.txt')
  const line = (serial: number) => `V\t991231235959Z\t\t${serial.toString(16).toUpperCase()}\tunknown\t/CN=${serial}\n`
  writeFileSync(index, serials.map(line).join(''))
  const signing = ['-rsigner', issuer.cert, '-rkey', issuer.key, '-CA', issuer.cert]
  const responder = start(holdings, 'openssl', ['ocsp', '-port', String(port), '-index', index, ...signing, '-nmin', '60'])
  await responder.until(/waiting for OCSP client connections/i)
}
