import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import test, { before, describe, type TestContext } from 'node:test'
import type { CertificateRenewal, CertificateStatus } from '../../gateway/admin/control.ts'
import { issue, type TestCertificate } from '../certs/issue.ts'
import { temporaryDirectory } from '../harness/temporary.ts'
import { failureOf, openDoor, reply, runCommand } from './admin-door.ts'
import { CERTIFICATES, certificate } from './recorded.ts'

const NOW = '2026-03-01T12:00:00.000Z'
const ALL = 'a.example, b.example, c.example, d.example, 2 more'

const ORDERED: CertificateStatus = {
  ...certificate('ACME ca.example', 0),
  name: '*.example.org',
  names: ['*.example.org'],
  present: [],
  renewsAt: NOW,
  problem: { message: 'Cannot order: no answer: ca.example', since: NOW, retriesAt: '2026-03-01T13:00:00.000Z', attempts: 3 },
}

describe('certs', () => {
  test('marks what ends soon and what has ended', async (t) => {
    const door = await openDoor(t)
    const expected = `NAMES                                               SOURCE               KEY          DAYS LEFT           VALID UNTIL              RENEWED
${ALL}  /etc/atlas/good.pem  ECDSA P-256         90           2026-05-01 00:00:00 UTC  –
${ALL}  /etc/atlas/soon.pem  ECDSA P-256         13  ! soon   2026-05-01 00:00:00 UTC  –
${ALL}  /etc/atlas/late.pem  ECDSA P-256         -2  expired  2026-05-01 00:00:00 UTC  –
`
    assert.equal((await runCommand(['certs', '--config', door.config])).out, expected)
    assert.equal((await runCommand(['certs', 'list', '--config', door.config])).out, expected)
    for (const words of [['certs'], ['certs', 'list']]) {
      assert.deepEqual(JSON.parse((await runCommand([...words, '--json', '--config', door.config])).out), CERTIFICATES)
    }
    door.answers.set('/v1/certificates', [])
    assert.match((await runCommand(['certs', '--config', door.config])).out, /^no certificates/)
  })

  test('shows what has still to come, why it does not, and what clients have to trust', async (t) => {
    const door = await openDoor(t)
    const local = { ...certificate('local CA', 90), renewsAt: NOW, authority: { file: '/var/lib/atlas/ca.pem', fingerprint: '01:23' } }
    door.answers.set('/v1/certificates', [ORDERED, local])
    assert.equal(
      (await runCommand(['certs', '--config', door.config])).out,
      `NAMES                                               SOURCE           KEY          DAYS LEFT            VALID UNTIL              RENEWED
*.example.org                                       ACME ca.example                          none yet                           2026-03-01 12:00:00 UTC
${ALL}  local CA         ECDSA P-256         90            2026-05-01 00:00:00 UTC  2026-03-01 12:00:00 UTC
  *.example.org: Cannot order: no answer: ca.example (3 attempts since
    2026-03-01 12:00:00 UTC; again 2026-03-01 13:00:00 UTC)
  to be trusted by clients: /var/lib/atlas/ca.pem, SHA-256 01:23
`,
    )
  })
})

describe('certs renew', () => {
  const renewed = (outcome: CertificateRenewal['outcome'], message: string | null = null) => ({
    ...certificate('ACME ca.example', 90),
    renewal: { askedAt: NOW, outcome, message },
  })

  test('shows the new one', async (t) => {
    const door = await openDoor(t)
    door.answers.set('/v1/certificates/renew', renewed('renewed'))
    const { out } = await runCommand(['certs', 'renew', '*.a.example', '--config', door.config])
    assert.match(out, /^a\.example is renewed\nNAMES .*\n.* 90 .*\n$/)
    assert.deepEqual(door.requests, ['POST /v1/certificates/renew?name=*.a.example'])
    const { out: json } = await runCommand(['certs', 'renew', '::1', '--json', '--config', door.config])
    assert.deepEqual(JSON.parse(json), renewed('renewed'))
    assert.equal(door.requests[1], 'POST /v1/certificates/renew?name=%3A%3A1')
  })

  test('waits for one that takes long, as long as it was told', async (t) => {
    const door = await openDoor(t)
    let looks = 0
    door.answers.set('/v1/certificates/renew', (response: ServerResponse) => reply(response, 202, renewed('running')))
    door.answers.set('/v1/certificates', (response: ServerResponse) =>
      reply(response, 200, [ORDERED, renewed(++looks < 2 ? 'running' : 'renewed')]),
    )
    const { out } = await runCommand(['certs', 'renew', 'a.example', '--config', door.config])
    assert.match(out, /^a\.example: ACME ca\.example is asked for a new one\na\.example is renewed\n/)
    assert.equal(looks, 2)
    looks = Number.NEGATIVE_INFINITY
    const error = await failureOf(['certs', 'renew', 'a.example', '--timeout', '1ms', '--config', door.config])
    assert.deepEqual(
      [error.code, error.message],
      ['ATLAS_ADMIN', 'Cannot renew the certificate: the renewal of a.example goes on: nothing after 0.001 s'],
    )
  })

  test('fails with the reason, at once or later', async (t) => {
    const door = await openDoor(t)
    const words = ['certs', 'renew', 'a.example', '--config', door.config]
    const refusal = { error: { code: 'unprocessable', message: 'Cannot order: wait until tomorrow' } }
    door.answers.set('/v1/certificates/renew', (response: ServerResponse) => reply(response, 422, refusal))
    assert.equal((await failureOf(words)).message, 'Cannot renew the certificate: Cannot order: wait until tomorrow')
    door.answers.set('/v1/certificates/renew', (response: ServerResponse) => reply(response, 202, renewed('running')))
    door.answers.set('/v1/certificates', [renewed('failed', 'Cannot order: no answer')])
    assert.equal((await failureOf(words)).message, 'Cannot renew the certificate: Cannot order: no answer')
    door.answers.set('/v1/certificates', [certificate('ACME ca.example', 90)])
    assert.match((await failureOf(words)).message, /the gateway knows nothing of the renewal of a\.example any more$/)
    assert.equal((await failureOf([...words, '--timeout', 'soon'])).code, 'ATLAS_USAGE')
  })
})

describe('certs roll-over', () => {
  test('has the account given another key, and fails with the reason', async (t) => {
    const door = await openDoor(t)
    const words = ['certs', 'roll-over', 'a.example', '--config', door.config]
    door.answers.set('/v1/certificates/roll-over', { done: true })
    assert.equal((await runCommand(words)).out, 'the account has another key\n')
    assert.deepEqual(door.requests, ['POST /v1/certificates/roll-over?name=a.example'])
    const refusal = { error: { code: 'unprocessable', message: 'Cannot change the key of the ACME account: no' } }
    door.answers.set('/v1/certificates/roll-over', (response: ServerResponse) => reply(response, 422, refusal))
    assert.equal((await failureOf(words)).message, 'Cannot change the key of the ACME account: no')
  })
})

describe('certs check', () => {
  let root: TestCertificate
  let intermediate: TestCertificate
  before(async () => {
    root = await issue({ subject: 'CN=Test Root', isCa: true })
    intermediate = await issue({ subject: 'CN=Test Between', isCa: true, issuer: root })
  })

  /** Writes files and a configuration; what the command says of it. */
  function checking(t: TestContext) {
    const directory = temporaryDirectory(t)
    const config = join(directory, 'atlas.yaml')
    const write = (name: string, text: string): string => {
      writeFileSync(join(directory, name), text)
      return join(directory, name)
    }
    return {
      write,
      words: (yaml: string, ...others: string[]): readonly string[] => {
        write('atlas.yaml', yaml)
        return ['certs', 'check', '--config', config, ...others]
      },
    }
  }

  const FILES = 'tls: { certificates: [{ cert: chain.pem, key: key.pem }] }\n'

  test('is content with a chain that leads to a root that clients know', async (t) => {
    const { write, words } = checking(t)
    const leaf = await issue({ names: ['dns.example.net', '*.dns.example.net'], addresses: ['192.0.2.1'], issuer: intermediate })
    const chain = write('chain.pem', leaf.certPem + intermediate.certPem)
    write('key.pem', leaf.keyPem)
    const ca = write('root.pem', root.certPem)
    const { out, err } = await runCommand(words(`${FILES}public: { name: dns.example.net }\n`, '--ca', ca))
    assert.equal(
      out.replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/, 'then'),
      `${chain}
names          dns.example.net, *.dns.example.net, 192.0.2.1
key            ECDSA P-256
valid until    then, 29 days left
chain          complete: it leads to Test Root
`,
    )
    assert.equal(err, '')
  })

  test('fails where an intermediate certificate is missing', async (t) => {
    const { write, words } = checking(t)
    const leaf = await issue({ names: ['dns.example.net'], issuer: intermediate })
    write('chain.pem', leaf.certPem)
    write('key.pem', leaf.keyPem)
    const { code, message, written } = await failureOf(words(FILES, '--ca', write('root.pem', root.certPem)))
    assert.deepEqual([code, message], ['ATLAS_CERTIFICATE', 'Cannot serve every client: 1 problem'])
    assert.match(written.out, /^chain {10}ends before Test Between\nproblem {8}the certificate of Test Between is missing behind/m)
  })

  test('fails where no certificate has public.name, and looks at all of them whatever is wrong with one', async (t) => {
    const { write, words } = checking(t)
    const wildcard = await issue({ names: ['*.example.net'], issuer: root })
    write('chain.pem', wildcard.certPem + root.certPem)
    write('key.pem', wildcard.keyPem)
    const named = (name: string) => `${FILES}public: { name: ${name} }\n`
    assert.match((await runCommand(words(named('dns.example.net')))).out, /complete: it leads to Test Root, a root that only those/)
    const { written } = await failureOf(words(named('example.net')))
    assert.match(written.out, /problem {8}no certificate has example\.net, which is public\.name/)
    const two = 'tls: { certificates: [{ cert: none.pem, key: key.pem }, { cert: chain.pem, key: key.pem }] }\n'
    const both = await failureOf(words(two))
    assert.match(both.written.out, /none\.pem\nproblem {8}Cannot use certificate: there is no such file/)
    assert.match(both.written.out, /\n\n\S+chain\.pem\nnames {10}\*\.example\.net\n/)
    assert.equal(both.message, 'Cannot serve every client: 1 problem')
  })

  test('says what a CA has to find from outside', async (t) => {
    const { words } = checking(t)
    const acme = (rest: string) => words(`tls: { acme: { names: [dns.example.net], ${rest} } }\nlisten: { doh: ["192.0.2.1:443"] }\n`)
    const said = async (rest: string) => (await runCommand(acme(rest))).out.replaceAll(/\s+/g, ' ')
    const tls = await said('challenge: tls-alpn-01')
    assert.match(
      tls,
      /^ACME acme-v02\.api\.letsencrypt\.org names dns\.example\.net needs A or AAAA records of dns\.example\.net that lead/,
    )
    assert.match(tls, /TCP port 443 of these names open to everybody, leading to 192\.0\.2\.1:443/)
    assert.match(await said('challenge: http-01'), /TCP port 80 of these names open to everybody, leading to 0\.0\.0\.0:80 or \[::\]:80/)
    assert.match(await said('challenge: dns-01, dns: { hook: [/bin/sh] }'), /that \/bin\/sh can make TXT records at _acme-challenge\.dns/)
    assert.match(await said('challenge: dns-01, dns: { update: 192.0.2.53 }'), /that 192\.0\.2\.53:53 takes updates of TXT records/)
    const responder = await said('challenge: dns-01, dns: { responder: ["192.0.2.1:53"], zone: acme.example.net }')
    assert.match(responder, /NS records of acme\.example\.net that lead to this gateway, .* leading to 192\.0\.2\.1:53/)
    assert.match(responder, /a CNAME record of _acme-challenge\.dns\.example\.net that leads to dns\.example\.net\.acme\.example\.net $/)
    const { out } = await runCommand(words('tls: { acme: { names: [dns.example.net] } }\n'))
    assert.match(out.replaceAll(/\s+/g, ' '), /passed on to 127\.0\.0\.1:8443 or .* by something in front .*: no listener has that port/)
    const listening = async (doh: string) =>
      (await runCommand(words(`tls: { acme: { names: [dns.example.net] } }\nlisten: { doh: [${doh}], dot: ["192.0.2.1:853"] }\n`))).out
    const balanced = await listening('{ address: "192.0.2.1:443", proxyProtocol: [192.0.2.0/24] }')
    assert.match(balanced.replaceAll(/\s+/g, ' '), /TCP port 443 of these names open to everybody, leading to 192\.0\.2\.1:443 $/)
    // a CA shows no certificate of a client
    const demanding = await listening('{ address: "192.0.2.1:443", clientCa: clients.pem }')
    assert.match(demanding.replaceAll(/\s+/g, ' '), /passed on to 192\.0\.2\.1:853 by something in front/)
  })

  test('tells who needs no file, or nothing at all', async (t) => {
    const { words } = checking(t)
    assert.match(
      (await runCommand(words(''))).out,
      /^local CA\nnames {10}localhost, 127\.0\.0\.1, ::1\nneeds {10}clients have to trust ca\.pem/,
    )
    const { out } = await runCommand(words('listen: { doh: [], dot: [], doq: [], dns: ["127.0.0.1:53"] }\n'))
    assert.equal(out, 'no listener needs a certificate\n')
  })
})
