import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { describe, type TestContext } from 'node:test'
import { connect } from 'node:tls'
import { pino } from 'pino'
import { AdminClient, AdminError } from '../../gateway/admin/client.ts'
import type { CertificateStatus, ControlEvent } from '../../gateway/admin/control.ts'
import type { Launcher } from '../../gateway/workers/protocol.ts'
import { issue } from '../certs/issue.ts'
import { inThisThread, runGateway, type TestGateway } from '../harness/gateway.ts'
import { scrape } from '../harness/metrics.ts'
import { temporaryDirectory } from '../harness/temporary.ts'

const clientOf = ({ state }: TestGateway) => new AdminClient(join(state, 'admin.sock'))
const renew = (gateway: TestGateway, name: string) =>
  clientOf(gateway).post<CertificateStatus>(`/v1/certificates/renew?name=${encodeURIComponent(name)}`)

/** SHA-256 of what DoT clients are shown. */
async function shown({ dot }: TestGateway): Promise<string> {
  const socket = connect({ ...dot, rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const { fingerprint256 } = socket.getPeerCertificate()
  socket.destroy()
  return fingerprint256
}

/** Writes a pair of files. */
function writing(t: TestContext) {
  const directory = temporaryDirectory(t)
  const files = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem'), origin: 'test' }
  const write = async (parts: Parameters<typeof issue>[0] = {}): Promise<void> => {
    const { certPem, keyPem } = await issue({ names: ['dns.example.net'], addresses: ['2001:db8::1'], ...parts })
    writeFileSync(files.cert, certPem)
    writeFileSync(files.key, keyPem)
  }
  return { files, write, tls: { certificates: [files], minVersion: 'TLSv1.3' as const, acme: [], ticketKeyFile: null } }
}

describe('the certificates of a gateway', () => {
  test('are shown with all that is known of them', async () => {
    await using gateway = await runGateway([])
    const [certificate = assert.fail(), ...others] = await clientOf(gateway).get<readonly CertificateStatus[]>('/v1/certificates')
    const { present, renewsAt, authority, ...rest } = certificate
    const names = ['localhost', '127.0.0.1', '::1']
    assert.deepEqual([rest, others.length], [{ name: 'localhost', source: 'local CA', names, problem: null, renewal: null }, 0])
    assert.equal(present[0]?.key, 'ECDSA P-256')
    assert.equal(present[0]?.endsSoon, false)
    assert.ok(Date.parse(renewsAt ?? '') < Date.parse(present[0]?.notAfter ?? ''))
    const { path: file, fingerprint } = gateway.gateway.facts.localCa ?? assert.fail()
    assert.deepEqual(authority, { file, fingerprint })
  })

  test('of the local CA are renewed when somebody asks, by any of their names', async () => {
    await using gateway = await runGateway([])
    const events: ControlEvent[] = []
    const followed = new AbortController()
    const following = clientOf(gateway).events((event) => void events.push(event), followed.signal)
    for (const name of ['LOCALHOST.', '0:0:0:0:0:0:0:1']) {
      const before = await shown(gateway)
      const { renewal, present } = await renew(gateway, name)
      assert.equal(renewal?.outcome, 'renewed')
      assert.notEqual(present[0]?.fingerprint, before)
      // when the answer comes, it is served
      assert.equal(await shown(gateway), present[0]?.fingerprint)
    }
    const metrics = await scrape(gateway)
    assert.equal(metrics.value('atlas_certificate_renewals_total{name="localhost"}'), 2)
    assert.equal(metrics.value('atlas_certificate_renewal_failures_total{name="localhost"}'), 0)
    assert.ok(metrics.value('atlas_certificate_renewal_due_seconds{name="localhost"}') > 86_400)
    followed.abort()
    await following
    assert.deepEqual(
      events.map(({ message }) => message),
      Array.from({ length: 2 }, () => 'there is a new certificate: localhost'),
    )
  })

  test('are renewed when all workers serve the new one', async () => {
    const told = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<void>()
    const inner = inThisThread(pino({ level: 'silent' }))
    const launch: Launcher['launch'] = (setup) => {
      const worker = inner.launch(setup)
      const tell: typeof worker.tell = async (command) => {
        told.resolve()
        await gate.promise
        return worker.tell(command)
      }
      return { ...worker, tell }
    }
    await using gateway = await runGateway([], {}, { launcher: { ...inner, launch } })
    const renewed = renew(gateway, 'localhost')
    await told.promise
    const [meanwhile] = await clientOf(gateway).get<readonly CertificateStatus[]>('/v1/certificates')
    assert.equal(meanwhile?.renewal?.outcome, 'running')
    gate.resolve()
    assert.equal((await renewed).renewal?.outcome, 'renewed')
  })

  test('in files are read again when somebody asks; what is wrong is said, and what there was stays', async (t) => {
    const { files, write, tls } = writing(t)
    await write()
    await using gateway = await runGateway([], { tls })
    const before = await shown(gateway)
    await write()
    const { source, present } = await renew(gateway, '2001:db8::1')
    assert.deepEqual([source, present[0]?.fingerprint === before], [files.cert, false])
    writeFileSync(files.key, 'nothing\n')
    const refusal = await renew(gateway, 'dns.example.net').catch((error) => error)
    assert.ok(refusal instanceof AdminError)
    assert.equal(refusal.status, 422)
    assert.match(refusal.reason ?? '', /^Cannot use certificate: it is not PEM: .*key\.pem \(test\)$/)
    assert.equal(await shown(gateway), present[0]?.fingerprint)
    const [now] = await clientOf(gateway).get<readonly CertificateStatus[]>('/v1/certificates')
    assert.equal(now?.renewal?.outcome, 'failed')
  })

  test('for the same name are all renewed, whatever becomes of one of them', async (t) => {
    const [ecdsa, other] = [writing(t), writing(t)]
    await Promise.all([ecdsa.write(), other.write()])
    await using gateway = await runGateway([], { tls: { ...ecdsa.tls, certificates: [ecdsa.files, other.files] } })
    const fingerprints = async () => {
      const certificates = await clientOf(gateway).get<readonly CertificateStatus[]>('/v1/certificates')
      return certificates.map(({ present }) => present[0]?.fingerprint)
    }
    const before = await fingerprints()
    await Promise.all([ecdsa.write(), other.write()])
    await renew(gateway, 'dns.example.net')
    const renewed = await fingerprints()
    assert.ok(renewed.every((each) => !before.includes(each)))
    writeFileSync(ecdsa.files.key, 'nothing\n')
    await other.write()
    await assert.rejects(renew(gateway, 'dns.example.net'), ({ reason }: AdminError) => reason?.includes('it is not PEM') === true)
    const [kept, last] = await fingerprints()
    assert.deepEqual([kept === renewed[0], last === renewed[1]], [true, false])
  })

  test('without the name that is asked for are named', async () => {
    await using gateway = await runGateway([])
    const refusal = await renew(gateway, 'x.example').catch((error) => error)
    assert.ok(refusal instanceof AdminError)
    assert.deepEqual([refusal.status, refusal.reason], [404, 'expected one of localhost: received "x.example"'])
  })

  test('that end soon are warned of, and make nobody unready', async (t) => {
    const { write, tls } = writing(t)
    await write({ from: -80, until: 10 })
    await using gateway = await runGateway([], { tls })
    const status = await clientOf(gateway).get<{ readonly warnings: readonly string[]; readonly ready: boolean }>('/v1/status')
    assert.equal(status.ready, true)
    assert.match(
      status.warnings[0] ?? '',
      /^the certificate of dns\.example\.net \(\S+cert\.pem\) expires on \S+, and there is no new one$/,
    )
    assert.deepEqual(gateway.gateway.facts.warnings, status.warnings)
    assert.equal(gateway.log.filter((line) => line.includes('expires on')).length, 1)
  })

  test('that are gone leave no series behind', async (t) => {
    const { write, tls } = writing(t)
    await write()
    await using gateway = await runGateway([], { tls })
    const series = 'atlas_certificate_expiry_seconds{name="dns.example.net"}'
    assert.ok((await scrape(gateway)).value(series) > 0)
    await gateway.reload({ tls: { ...tls, certificates: [] } })
    const after = await scrape(gateway)
    assert.equal(after.value(series), 0)
    assert.ok(after.value('atlas_certificate_expiry_seconds{name="localhost"}') > 0)
  })
})
