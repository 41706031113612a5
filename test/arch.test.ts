import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import test from 'node:test'

const ROOT = new URL('..', import.meta.url).pathname

/** The rows of docs/ARCHITECTURE.md, upper ones first: what each folder may import besides itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  dns: [],
  net: ['dns'],
  certs: ['dns', 'net'],
  transports: ['dns', 'net'],
  upstream: ['dns', 'net'],
  gateway: ['dns', 'net'],
  assembly: ['dns', 'net', 'certs', 'transports', 'upstream', 'gateway'],
  test: ['dns', 'net', 'certs', 'transports', 'upstream', 'gateway', 'assembly'],
  bench: ['dns', 'net', 'certs', 'transports', 'upstream', 'gateway', 'assembly'],
}
const FOLDERS = ['dns', 'net', 'certs', 'transports', 'upstream', 'gateway', 'test', 'bench']
/** Only these join the parts. */
const ASSEMBLY = /^gateway\/(gateway\.ts|data-plane\.ts|assembly\/|workers\/)/
/** Bytes and times in, bytes out: no socket, no clock, no timer. */
const SANS_IO =
  /^(dns\/|net\/(framing|address|clock)\.ts|certs\/acme\/(schedule|retry-after|problem|resources)\.ts|transports\/doh\/(request|response)\.ts|gateway\/stages\/|gateway\/pipeline\.ts|gateway\/cache\/(siphash|geometry|key|entry|page-locks|page-rewriter|table|leases|failures|memory|cache)\.ts)/
const IO_MODULES = /^node:(net|tls|dgram|http|https|http2|fs|timers|child_process|worker_threads)/

interface Import {
  readonly from: string
  readonly to: string
  readonly typeOnly: boolean
}

const files = FOLDERS.flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name))),
)
const imports = files.flatMap(importsOf)

function importsOf(from: string): Import[] {
  const text = readFileSync(join(ROOT, from), 'utf8')
  const statements = text.matchAll(/^(?:import|export)\s+(type\s)?[^'"]*?from\s+'([^']+)'|^import\s+'([^']+)'|\bimport\('([^']+)'\)/gm)
  return Array.from(statements, ([, type, to = '', bare = '', dynamic = '']) => {
    const target = to || bare || dynamic
    return { from, to: target.startsWith('.') ? normalize(join(dirname(from), target)) : target, typeOnly: type !== undefined }
  })
}

function rowOf(file: string): string {
  return ASSEMBLY.test(file) ? 'assembly' : (file.split('/')[0] ?? '')
}

test('imports are found at all', () => {
  assert.ok(files.length > 80)
  assert.ok(imports.some(({ from, to }) => from === 'gateway/data-plane.ts' && to === 'gateway/pipeline.ts'))
})

test('imports run upward only', () => {
  const wrong = imports.filter(({ from, to }) => {
    if (to.startsWith('node:') || !to.includes('/') || !FOLDERS.includes(to.split('/')[0] ?? '')) return false
    const [row, target] = [rowOf(from), rowOf(to)]
    // the program and its command line start the gateway and check it: the only ways into the assembly
    if (target === 'assembly' && /^gateway\/(main\.ts|cli\/)/.test(from)) return false
    return row !== target && !MAY_IMPORT[row]?.includes(target)
  })
  assert.deepEqual(wrong, [])
})

test('nothing imports in a circle', () => {
  const edges = Map.groupBy(
    imports.filter(({ typeOnly, to }) => !typeOnly && files.includes(to)),
    ({ from }) => from,
  )
  const done = new Set<string>()
  const visit = (file: string, path: readonly string[]): void => {
    assert.ok(!path.includes(file), [...path, file].join(' → '))
    if (done.has(file)) return
    for (const { to } of edges.get(file) ?? []) visit(to, [...path, file])
    done.add(file)
  }
  for (const file of files) visit(file, [])
})

test('the sans-IO parts import no I/O', () => {
  const wrong = imports.filter(({ from, to, typeOnly }) => !typeOnly && SANS_IO.test(from) && IO_MODULES.test(to))
  // constants and pure functions
  const pure = new Set(['net/address.ts', 'transports/doh/request.ts', 'transports/doh/response.ts'])
  assert.deepEqual(
    wrong.filter(({ from }) => !pure.has(from)),
    [],
  )
})

test('dns/ imports nothing but itself', () => {
  assert.deepEqual(
    imports.filter(({ from, to }) => from.startsWith('dns/') && !to.startsWith('dns/')),
    [],
  )
})

test('no file escapes the type checker or has more than 400 lines', () => {
  for (const file of files) {
    const text = readFileSync(join(ROOT, file), 'utf8')
    assert.ok(text.split('\n').length <= 401, file)
    if (/^(test|bench)\//.test(file)) continue
    assert.doesNotMatch(text, /@ts-(ignore|nocheck|expect-error)|\bas any\b|: any\b|\w!\.|\w!\[/, file)
  }
})
