import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import pino from 'pino'
import type { CertificateObserver, CertificateState } from '../../certs/provider.ts'
import { DirectoryStorage } from '../../certs/storage.ts'
import { IdentityAssembly, type IdentityDependencies, type IdentitySource, identitySource } from '../../gateway/assembly/identities.ts'
import { loadConfig } from '../../gateway/config/load.ts'
import { TestSolver } from '../certs/acme/lab.ts'
import { AcmeServer } from '../harness/acme-server.ts'
import { temporaryDirectory } from '../harness/temporary.ts'

function sourceOf(directory: string, acme: string): Promise<IdentitySource> {
  const file = join(directory, 'atlas.yaml')
  writeFileSync(file, `tls:\n  acme:\n${acme}`)
  return identitySource(loadConfig({ file, env: {}, cwd: directory }).config, { inDate: true })
}

/** Names of the identities in use. */
function served({ identities }: IdentityAssembly): readonly string[] {
  return identities.map(({ names }) => names[0] ?? '')
}

test('the local CA stands in until the first certificate comes, which is there at the next start', async (t) => {
  const server = await AcmeServer.start()
  t.after(() => server[Symbol.asyncDispose]())
  const directory = temporaryDirectory(t)
  const solver = new TestSolver('tls-alpn-01')
  server.behaviour.look = (token) => solver.shown.get(token)?.keyAuthorization
  const arrivals: CertificateState[] = []
  const arrived = Promise.withResolvers<void>()
  const observer: CertificateObserver = {
    changed: (state) => {
      if (arrivals.push(state) === 2) arrived.resolve()
    },
    failed: ({ problem }) => arrived.reject(new Error(problem?.message)),
  }
  const dependencies: IdentityDependencies = {
    stateDir: directory,
    storage: new DirectoryStorage(directory),
    solverOf: async () => solver,
    log: pino({ level: 'silent' }),
    observer,
  }
  const entry = (name: string): string => `    - { directory: "${server.directory}", ca: ${server.caFile}, names: [${name}] }\n`
  const source = await sourceOf(directory, entry('a.example.net') + entry('b.example.net'))
  const assembly = await IdentityAssembly.open(source, dependencies, IdentityAssembly.none())
  t.after(() => assembly.stop())
  assert.deepEqual(served(assembly), ['localhost'])
  assert.ok(assembly.localCa !== null)
  await arrived.promise
  assert.deepEqual(served(assembly).toSorted(), ['a.example.net', 'b.example.net'])
  assert.equal(assembly.localCa, null)
  assert.equal(solver.most, 1, 'one order at a time')
  assert.equal(server.accounts.size, 1)

  const again = await IdentityAssembly.open(source, dependencies, IdentityAssembly.none())
  assert.deepEqual(served(again), ['a.example.net', 'b.example.net'])
  await again.stop()

  const next = await IdentityAssembly.open(await sourceOf(directory, entry('a.example.net')), dependencies, assembly)
  t.after(() => next.stop())
  assert.equal(next.certificates[0]?.identities[0], assembly.certificates[0]?.identities[0])
  await next.renew('a.example.net')
  assert.equal(server.count('newOrder'), 3)

  const before = readFileSync(join(directory, 'acme', new URL(server.directory).host, 'account.key'), 'utf8')
  await next.rollOver('a.example.net')
  assert.notEqual(readFileSync(join(directory, 'acme', new URL(server.directory).host, 'account.key'), 'utf8'), before)
  await assert.rejects(next.rollOver('localhost'), /^OperationalError: Cannot change the key of an ACME account/)
  assert.equal(server.accounts.size, 1)
})

test('a local CA that cannot be used does not keep the certificates there are from being served', async (t) => {
  const server = await AcmeServer.start()
  t.after(() => server[Symbol.asyncDispose]())
  const directory = temporaryDirectory(t)
  const solver = new TestSolver('tls-alpn-01')
  server.behaviour.look = (token) => solver.shown.get(token)?.keyAuthorization
  const dependencies: IdentityDependencies = {
    stateDir: directory,
    storage: new DirectoryStorage(directory),
    solverOf: async () => solver,
    log: pino({ level: 'silent' }),
    observer: { changed: () => {}, failed: () => {} },
  }
  const entry = (name: string): string => `    - { directory: "${server.directory}", ca: ${server.caFile}, names: [${name}] }\n`
  const first = await IdentityAssembly.open(await sourceOf(directory, entry('a.example.net')), dependencies, IdentityAssembly.none())
  await first.renew('a.example.net')
  await first.stop()
  writeFileSync(join(directory, 'ca.key'), 'garbage')
  const two = await sourceOf(directory, entry('a.example.net') + entry('b.example.net'))
  const next = await IdentityAssembly.open(two, dependencies, IdentityAssembly.none())
  t.after(() => next.stop())
  assert.deepEqual(served(next), ['a.example.net'])
  const alone = await sourceOf(directory, entry('b.example.net'))
  await assert.rejects(IdentityAssembly.open(alone, dependencies, IdentityAssembly.none()), /^OperationalError: Cannot use the local CA/)
})

test('the local CA stands in for as many names as it has room for', async (t) => {
  const directory = temporaryDirectory(t)
  const names = Array.from({ length: 100 }, (_, i) => `n${i}.example.net`)
  const source = await sourceOf(directory, `    - { directory: "https://localhost:1/directory", names: [${names.join(', ')}] }\n`)
  const dependencies: IdentityDependencies = {
    stateDir: directory,
    storage: new DirectoryStorage(directory),
    solverOf: async () => new TestSolver('tls-alpn-01'),
    log: pino({ level: 'silent' }),
    observer: { changed: () => {}, failed: () => {} },
  }
  const assembly = await IdentityAssembly.open(source, dependencies, IdentityAssembly.none())
  t.after(() => assembly.stop())
  const [standIn] = assembly.identities
  assert.equal((standIn?.names.length ?? 0) + (standIn?.addresses.length ?? 0), 100)
  assert.ok(standIn?.names.includes('n0.example.net'))
})
