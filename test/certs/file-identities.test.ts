import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { describe, type TestContext } from 'node:test'
import { FileIdentities } from '../../certs/file-identities.ts'
import { type CertificateSource, loadIdentityFiles } from '../../certs/files.ts'
import type { CertificateState } from '../../certs/provider.ts'
import { temporaryDirectory } from '../harness/temporary.ts'
import { until } from '../harness/until.ts'
import { DAY_MS, issue, type TestCertificate } from './issue.ts'
import { PKCS12 } from './pkcs12-fixtures.ts'

const first = await issue({ names: ['a.test'] })
const second = await issue({ names: ['a.test', 'b.test'] })
const expired = await issue({ names: ['a.test'], from: -20, until: -10 })
const early = await issue({ names: ['a.test'], from: 10, until: 20 })

const RETRY_MS = 60_000

interface Watched {
  readonly identities: FileIdentities
  readonly source: CertificateSource
  /** What was heard of it, in order: a fingerprint, or a problem. */
  readonly heard: string[]
  /** Looks, and gives the fingerprint of what is in use then. */
  look(): Promise<string | undefined>
  readonly problem: CertificateState['problem']
}

async function watch(t: TestContext, source: CertificateSource): Promise<Watched> {
  const heard: string[] = []
  const observer = {
    changed: ({ identities }: CertificateState) => void heard.push(identities[0]?.fingerprint256 ?? ''),
    failed: ({ problem }: CertificateState) => void heard.push(problem?.message ?? ''),
  }
  const identities = new FileIdentities({ files: source, identity: await loadIdentityFiles(source, { now: null }) }, observer)
  t.after(() => identities.stop())
  return {
    identities,
    source,
    heard,
    async look() {
      await identities.look()
      return identities.certificates[0]?.identities[0]?.fingerprint256
    },
    get problem() {
      return identities.certificates[0]?.problem ?? null
    },
  }
}

interface Pair {
  readonly cert: string
  readonly key: string
  readonly origin: string
  readonly directory: string
  write(certificate: TestCertificate): void
}

function pairIn(t: TestContext): Pair {
  const directory = temporaryDirectory(t)
  const [cert, key] = [join(directory, 'chain.pem'), join(directory, 'key.pem')]
  const write = ({ certPem, keyPem }: TestCertificate): void => {
    writeFileSync(cert, certPem)
    writeFileSync(key, keyPem)
  }
  write(first)
  return { cert, key, origin: 'atlas.yaml:3:5', directory, write }
}

const prints = [first, second].map(({ certificate }) => certificate.fingerprint256)

describe('FileIdentities', () => {
  test('takes what is written over the files', async (t) => {
    const pair = pairIn(t)
    const watched = await watch(t, pair)
    assert.equal(await watched.look(), prints[0])
    pair.write(second)
    assert.equal(await watched.look(), prints[1])
    assert.deepEqual(watched.identities.certificates[0]?.names, ['a.test', 'b.test'])
    assert.deepEqual([watched.heard, watched.problem], [[prints[1]], null])
  })

  test('finds what was written before the first look', async (t) => {
    const pair = pairIn(t)
    const watched = await watch(t, pair)
    pair.write(second)
    assert.equal(await watched.look(), prints[1])
  })

  test('takes files that are renamed over the old ones, in the same size and at the same time', async (t) => {
    const pair = pairIn(t)
    const watched = await watch(t, pair)
    await watched.look()
    writeFileSync(`${pair.cert}.new`, second.certPem)
    writeFileSync(`${pair.key}.new`, second.keyPem)
    renameSync(`${pair.cert}.new`, pair.cert)
    assert.equal(await watched.look(), prints[0], 'the key is still that of the old one')
    renameSync(`${pair.key}.new`, pair.key)
    assert.equal(await watched.look(), prints[1])
    assert.deepEqual(watched.heard, [prints[1]])
  })

  test('follows a symbolic link on the way, as Kubernetes swaps it', async (t) => {
    const directory = temporaryDirectory(t)
    const revision = (name: string, { certPem, keyPem }: TestCertificate): void => {
      mkdirSync(join(directory, name))
      writeFileSync(join(directory, name, 'tls.crt'), certPem)
      writeFileSync(join(directory, name, 'tls.key'), keyPem)
    }
    revision('..2026_1', first)
    symlinkSync('..2026_1', join(directory, '..data'))
    for (const name of ['tls.crt', 'tls.key']) symlinkSync(join('..data', name), join(directory, name))
    const watched = await watch(t, { cert: join(directory, 'tls.crt'), key: join(directory, 'tls.key'), origin: 'a:1:1' })
    assert.equal(await watched.look(), prints[0])
    revision('..2026_2', second)
    symlinkSync('..2026_2', join(directory, '..data_tmp'))
    renameSync(join(directory, '..data_tmp'), join(directory, '..data'))
    rmSync(join(directory, '..2026_1'), { recursive: true })
    assert.equal(await watched.look(), prints[1])
    assert.deepEqual(watched.heard, [prints[1]])
  })

  test('waits for a key that comes after its chain, and for a file that is half written', async (t) => {
    const pair = pairIn(t)
    const watched = await watch(t, pair)
    await watched.look()
    writeFileSync(pair.cert, second.certPem)
    assert.equal(await watched.look(), prints[0])
    writeFileSync(pair.key, second.keyPem)
    assert.equal(await watched.look(), prints[1])
    truncateSync(pair.cert, 100)
    assert.equal(await watched.look(), prints[1])
    pair.write(first)
    assert.equal(await watched.look(), prints[0])
    assert.deepEqual([watched.heard, watched.problem], [[prints[1], prints[0]], null])
  })

  test('tells once why files cannot be used, keeps what is in use, and takes the next good ones', async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
    const pair = pairIn(t)
    const watched = await watch(t, pair)
    writeFileSync(pair.cert, second.certPem)
    for (let look = 0; look < 5; look++) assert.equal(await watched.look(), prints[0])
    const message = `Cannot use certificate: the key does not match the certificate ${pair.cert}: ${pair.key} (atlas.yaml:3:5)`
    const now = Date.now()
    assert.deepEqual(watched.problem, { message, since: now, retriesAt: now + RETRY_MS, attempts: 1 })
    t.mock.timers.tick(RETRY_MS)
    await watched.look()
    assert.deepEqual(watched.problem, { message, since: now, retriesAt: now + 2 * RETRY_MS, attempts: 2 })
    writeFileSync(pair.key, 'nothing')
    for (let look = 0; look < 3; look++) await watched.look()
    assert.equal(watched.problem?.attempts, 3)
    assert.equal(watched.problem.since, now)
    const other = `Cannot use certificate: it is not PEM: ${pair.key} (atlas.yaml:3:5)`
    assert.deepEqual(watched.heard, [message, other])
    writeFileSync(pair.key, second.keyPem)
    assert.equal(await watched.look(), prints[1])
    assert.deepEqual([watched.heard, watched.problem], [[message, other, prints[1]], null])
  })

  test('lives through files that are gone for a while', async (t) => {
    const pair = pairIn(t)
    const watched = await watch(t, pair)
    renameSync(pair.directory, `${pair.directory}.away`)
    for (let look = 0; look < 3; look++) assert.equal(await watched.look(), prints[0])
    const message = `Cannot use certificate: there is no such file: ${pair.cert} (atlas.yaml:3:5)`
    assert.equal(watched.problem?.message, message)
    renameSync(`${pair.directory}.away`, pair.directory)
    assert.equal(await watched.look(), prints[0])
    assert.deepEqual([watched.heard, watched.problem], [[message], null], 'the same certificate is no new one')
  })

  test('lives through a path that becomes a folder, a device, a loop', async (t) => {
    const pair = pairIn(t)
    const watched = await watch(t, pair)
    for (const [become, reason] of [
      [() => mkdirSync(pair.cert), /it is a directory/],
      [() => symlinkSync('/dev/zero', pair.cert), /it is not a regular file/],
      [() => symlinkSync(pair.cert, pair.cert), /ELOOP/],
      [() => writeFileSync(pair.cert, Buffer.alloc(1_048_577)), /it is larger than/],
    ] as const) {
      rmSync(pair.cert, { recursive: true })
      become()
      for (let look = 0; look < 2; look++) assert.equal(await watched.look(), prints[0])
      assert.match(watched.problem?.message ?? '', reason)
    }
  })

  test('takes a file as soon as it may be read', { skip: process.getuid?.() === 0 && 'root may read everything' }, async (t) => {
    const pair = pairIn(t)
    const watched = await watch(t, pair)
    pair.write(second)
    chmodSync(pair.key, 0)
    for (let look = 0; look < 2; look++) await watched.look()
    assert.match(watched.problem?.message ?? '', /permission denied/)
    chmodSync(pair.key, 0o600)
    assert.equal(await watched.look(), prints[1])
  })

  test('refuses what has expired, or is not valid yet, while something else is in use', async (t) => {
    const pair = pairIn(t)
    const watched = await watch(t, pair)
    for (const [bad, reason] of [
      [expired, /it expired on/],
      [early, /it is not valid before/],
    ] as const) {
      pair.write(bad)
      for (let look = 0; look < 2; look++) assert.equal(await watched.look(), prints[0])
      assert.match(watched.problem?.message ?? '', reason)
    }
  })

  test('takes what a clock that was ahead had refused, once that is set back', async (t) => {
    const pair = pairIn(t)
    const watched = await watch(t, pair)
    await watched.look()
    const now = Date.now()
    t.mock.timers.enable({ apis: ['Date'], now: now + 365 * DAY_MS })
    pair.write(second)
    for (let look = 0; look < 2; look++) assert.equal(await watched.look(), prints[0])
    assert.match(watched.problem?.message ?? '', /it expired on/)
    t.mock.timers.reset()
    assert.equal(await watched.look(), prints[1])
  })

  test('has a problem from the start when what there is has expired, and none once it is replaced', async (t) => {
    const pair = pairIn(t)
    pair.write(expired)
    const watched = await watch(t, pair)
    assert.match(watched.problem?.message ?? '', /^Cannot use certificate: it expired on .*: .*chain\.pem \(atlas\.yaml:3:5\)$/)
    for (let look = 0; look < 3; look++) assert.equal(await watched.look(), expired.certificate.fingerprint256)
    assert.equal(watched.heard.length, 1)
    pair.write(first)
    assert.equal(await watched.look(), prints[0])
    assert.equal(watched.problem, null)
  })

  test('finds that the clock has been set', async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: 0 })
    const watched = await watch(t, pairIn(t))
    for (let look = 0; look < 3; look++) await watched.look()
    assert.match(watched.problem?.message ?? '', /it is not valid before .* \(the clock says 1970-01-01\)/)
    t.mock.timers.tick(3 * RETRY_MS)
    await watched.look()
    assert.equal(watched.heard.length, 1, 'it is told once')
    t.mock.timers.setTime(first.certificate.validFromDate.getTime() + DAY_MS)
    assert.equal(await watched.look(), prints[0])
    assert.equal(watched.problem, null)
  })

  test('reads at once when it is asked to, and says what is wrong', async (t) => {
    const pair = pairIn(t)
    const watched = await watch(t, pair)
    await watched.look()
    writeFileSync(pair.cert, second.certPem)
    await assert.rejects(watched.identities.renew(), { code: 'ATLAS_CERTIFICATE', message: /the key does not match/ })
    assert.match(watched.problem?.message ?? '', /the key does not match/)
    writeFileSync(pair.key, second.keyPem)
    await watched.identities.renew()
    assert.deepEqual([watched.heard.at(-1), watched.problem], [prints[1], null])
  })

  test('watches a container and its password', async (t) => {
    const directory = temporaryDirectory(t)
    const [pfx, passwordFile] = [join(directory, 'own.p12'), join(directory, 'word')]
    writeFileSync(pfx, PKCS12.modern)
    writeFileSync(passwordFile, 'secret\n')
    const watched = await watch(t, { pfx, passwordFile, origin: 'a:1:1' })
    assert.equal(watched.identities.certificates[0]?.source, pfx)
    writeFileSync(passwordFile, 'wrong')
    for (let look = 0; look < 2; look++) await watched.look()
    assert.equal(watched.problem?.message, `Cannot use certificate: wrong password in ${passwordFile}: ${pfx} (a:1:1)`)
    writeFileSync(passwordFile, 'secret')
    await watched.look()
    assert.equal(watched.problem, null)
  })

  test('looks by itself every two seconds until it is stopped', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const pair = pairIn(t)
    const watched = await watch(t, pair)
    pair.write(second)
    t.mock.timers.tick(1999)
    assert.deepEqual(watched.heard, [])
    t.mock.timers.tick(1)
    await until(() => watched.heard.length === 1)
    await watched.identities.stop()
    pair.write(first)
    t.mock.timers.tick(60_000)
    await watched.identities.stop()
    assert.deepEqual(watched.heard, [prints[1]])
  })
})
