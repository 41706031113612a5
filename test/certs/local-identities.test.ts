import assert from 'node:assert/strict'
import test from 'node:test'
import { LocalIdentities } from '../../certs/local-identities.ts'
import type { CertificateState } from '../../certs/provider.ts'
import { temporaryDirectory } from '../harness/temporary.ts'

test('the certificate of the local CA is renewed within the hour when the clock is set forward', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const renewed = Promise.withResolvers<CertificateState>()
  const options = { stateDir: temporaryDirectory(t), names: ['localhost'], addresses: [], subdomainsOf: [] }
  const local = await LocalIdentities.open(options, { changed: renewed.resolve, failed: () => assert.fail() })
  const now = Date.now() + 2 * 365 * 86_400_000
  t.mock.method(Date, 'now', () => now)
  t.mock.timers.tick(3_600_000)
  const [identity] = (await renewed.promise).identities
  assert.ok((identity?.notAfter ?? 0) > now)
  await local.stop()
})
