import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { createUpdateSolver } from '../../../../certs/acme/dns-01/solver.ts'
import { readTsigKey, type TsigConfig } from '../../../../certs/acme/dns-01/tsig-key.ts'
import type { Endpoint } from '../../../../net/address.ts'
import { wireName } from '../../../harness/messages.ts'
import { temporaryDirectory } from '../../../harness/temporary.ts'
import { soaData, txtData, UpdateServer, type UpdateServerOptions, withOctet } from '../../../harness/update-server.ts'
import { challengeFor, dependencies, txtOf } from './challenges.ts'

const SECRET = randomBytes(32)
const RECORD = '_acme-challenge.www.example.net'

function tsig(t: TestContext, { secret = SECRET.toString('base64'), ...rest }: { secret?: string } & Partial<TsigConfig> = {}): TsigConfig {
  const secretFile = join(temporaryDirectory(t), 'secret')
  writeFileSync(secretFile, secret)
  return { name: 'acme.key', algorithm: 'hmac-sha256', secretFile, origin: 'atlas.yaml:3:5', ...rest }
}

function config(server: Endpoint, rest: { tsig?: TsigConfig | null; zone?: string | null; timeoutMs?: number } = {}) {
  return { server, zone: 'example.net', tsig: null, timeoutMs: 5000, servers: [server], ...rest }
}

async function serve(t: TestContext, options: UpdateServerOptions = {}): Promise<UpdateServer> {
  const server = await UpdateServer.start({ zones: ['example.net'], ...options })
  t.after(() => server[Symbol.asyncDispose]())
  return server
}

test('an update adds one record beside those that are there, and takes only that one away', async (t) => {
  const server = await serve(t, { records: { [`${RECORD} 16`]: [txtData('of-somebody-else')] } })
  const solver = createUpdateSolver(config(server.endpoint), dependencies())
  // a wildcard and the name below it have the same record
  const [name, wildcard] = [challengeFor('www.example.net', 'one'), challengeFor('www.example.net', 'two')]
  await Promise.all([solver.present(name), solver.present(wildcard)])
  assert.deepEqual(server.texts(RECORD), ['of-somebody-else', txtOf(name), txtOf(wildcard)].toSorted())
  await solver.remove(name)
  assert.deepEqual(server.texts(RECORD), ['of-somebody-else', txtOf(wildcard)].toSorted())
  await solver.remove(wildcard)
  await solver.remove(wildcard)
  assert.deepEqual(server.texts(RECORD), ['of-somebody-else'])
  assert.deepEqual(server.updates.toSorted(), [`+ ${RECORD} 1`, `+ ${RECORD} 1`, `- ${RECORD} 0`, `- ${RECORD} 0`].toSorted())
})

for (const hash of ['sha256', 'sha384', 'sha512'] as const) {
  test(`an update is signed with hmac-${hash}, and so is every question at that server`, async (t) => {
    const key = { name: 'acme.key', hash, secret: SECRET }
    const server = await serve(t, { key })
    const seen = await serve(t, { records: { [`${RECORD} 16`]: [txtData(txtOf(challengeFor('www.example.net')))] } })
    const solver = createUpdateSolver(
      {
        ...config(server.endpoint, { zone: null, tsig: tsig(t, { algorithm: `hmac-${hash}`, name: 'Acme.KEY' }) }),
        servers: [seen.endpoint],
      },
      dependencies(),
    )
    await solver.present(challengeFor('www.example.net'))
    assert.deepEqual(server.texts(RECORD), [txtOf(challengeFor('www.example.net'))])
    assert.deepEqual(server.questions, [`${RECORD} 5`, `${RECORD} 6`], 'aliases, then the zone')
  })
}

test('an update is written where the aliases of the name lead', async (t) => {
  const server = await serve(t, {
    records: {
      [`${RECORD} 5`]: [wireName('one.example.net')],
      'one.example.net 5': [wireName('two.example.net')],
    },
  })
  const solver = createUpdateSolver(config(server.endpoint, { zone: null }), dependencies())
  await solver.present(challengeFor('www.example.net'))
  assert.deepEqual(server.texts('two.example.net'), [txtOf(challengeFor('www.example.net'))])
  await solver.remove(challengeFor('www.example.net'))
  assert.deepEqual(server.texts('two.example.net'), [])
})

test('aliases that lead nowhere are given up', async (t) => {
  const server = await serve(t, {
    records: { [`${RECORD} 5`]: [wireName('one.example.net')], 'one.example.net 5': [wireName(RECORD)] },
  })
  const solver = createUpdateSolver(config(server.endpoint), dependencies())
  await assert.rejects(solver.present(challengeFor('www.example.net')), {
    code: 'ATLAS_CERTIFICATE',
    message: `Cannot show the CA that www.example.net is ours by dns-01: ${RECORD}. leads over more than 8 aliases, or back to itself`,
  })
  assert.equal(server.questions.length, 9)
})

test('a refused update says what to look at', async (t) => {
  const key = { name: 'acme.key', hash: 'sha256', secret: SECRET }
  const cases: readonly [UpdateServerOptions, Partial<Parameters<typeof tsig>[1]>, { zone?: string }, RegExp][] = [
    [{ rcode: 5 }, {}, {}, /REFUSED: its policy does not let this key change _acme-challenge\.www\.example\.net\. TXT$/],
    [{ zones: ['example.org'] }, {}, {}, /NOTAUTH: it is not the primary of the zone example\.net\.: check update and zone$/],
    [{ zones: ['example.org'] }, {}, { zone: 'example.org' }, /NOTZONE: .* is not in the zone example\.org\.: check zone$/],
    [{ rcode: 4 }, {}, {}, /NOTIMP: it takes no updates$/],
    [{ rcode: 2 }, {}, {}, /SERVFAIL: it cannot change the zone example\.net\.: its log says why$/],
    [{ rcode: 8 }, {}, {}, /: NXRRSET$/],
  ]
  for (const [options, , rest, message] of cases) {
    const server = await serve(t, { recurses: true, ...options })
    const solver = createUpdateSolver(config(server.endpoint, rest), dependencies())
    await assert.rejects(solver.present(challengeFor('www.example.net')), message)
    assert.deepEqual(server.updates, [])
  }
  const signed: readonly [UpdateServerOptions, Partial<TsigConfig> & { secret?: string }, RegExp][] = [
    [{}, { name: 'other.key' }, /BADKEY: it does not know the key other\.key with hmac-sha256: check tsig\.name and tsig\.algorithm/],
    [{}, { algorithm: 'hmac-sha512' }, /BADKEY: it does not know the key acme\.key with hmac-sha512/],
    [{}, { secret: randomBytes(32).toString('base64') }, /BADSIG: it has another secret for the key acme\.key: check .*secret/],
    [{ ahead: 1000 }, {}, /BADTIME: the clocks differ by (999|1000|1001) s: set them by NTP/],
  ]
  for (const [options, of, message] of signed) {
    const server = await serve(t, { key, ...options })
    // no resolver besides: what the server says of the first question is why
    const solver = createUpdateSolver({ ...config(server.endpoint, { tsig: tsig(t, of) }), servers: [] }, dependencies())
    await assert.rejects(solver.present(challengeFor('www.example.net')), message)
  }
})

test('an answer that is not signed as it should be is none', async (t) => {
  const key = { name: 'acme.key', hash: 'sha256', secret: SECRET }
  const tampered: readonly [(answer: Buffer) => Buffer, RegExp][] = [
    // RA, which says nothing of the update
    [(answer) => withOctet(answer, 3, answer.readUInt8(3) ^ 0x80), /the signature of the answer is wrong \(NOERROR\)/],
    [(answer) => withOctet(answer, answer.length - 7, answer.readUInt8(answer.length - 7) ^ 1), /the signature of the answer is wrong/],
    [(answer) => withoutLast(answer), /the answer is not signed \(NOERROR\)/],
    [(answer) => answer.subarray(0, -1), /the answer is malformed/],
    [(answer) => Buffer.concat([answer, Buffer.from([0])]), /the answer is malformed/],
  ]
  for (const [tamper, message] of tampered) {
    const server = await serve(t, { key, tamper })
    const solver = createUpdateSolver({ ...config(server.endpoint, { tsig: tsig(t) }), servers: [] }, dependencies())
    await assert.rejects(solver.present(challengeFor('www.example.net')), message)
  }
})

test('an answer that is signed rightly, but by another name or for another time, is none', async (t) => {
  const key = { name: 'acme.key', hash: 'sha256', secret: SECRET }
  const signed: readonly [NonNullable<UpdateServerOptions['signs']>, RegExp][] = [
    [{ name: 'other.key' }, /the answer is signed with another key \(NOERROR\)/],
    [{ late: 400 }, /the clocks differ by (399|400) s: the answer is signed for another time/],
    [{ late: -400 }, /the clocks differ by 40[01] s/],
  ]
  for (const [signs, message] of signed) {
    const server = await serve(t, { key, signs })
    const solver = createUpdateSolver({ ...config(server.endpoint, { tsig: tsig(t) }), servers: [] }, dependencies())
    await assert.rejects(solver.present(challengeFor('www.example.net')), message)
  }
  const server = await serve(t, { key, signs: { late: 200 } })
  const solver = createUpdateSolver({ ...config(server.endpoint, { tsig: tsig(t) }), servers: [] }, dependencies())
  await assert.rejects(solver.present(challengeFor('www.example.net')), /no server of the zone example\.net\. has an address/)
})

/** The TSIG record goes: it begins with the name of the key. */
function withoutLast(answer: Buffer): Buffer {
  const cut = Buffer.from(answer.subarray(0, answer.lastIndexOf(wireName('acme.key'))))
  cut.writeUInt16BE(cut.readUInt16BE(10) - 1, 10)
  return cut
}

test('a secret that cannot be used is named with file and origin, and is a failure of the challenge, not of the start', async (t) => {
  const unusable: readonly [string, RegExp][] = [
    ['', /expected the secret alone, in base64$/],
    ['key "acme.key" { secret "AAAA"; };', /expected the secret alone, in base64$/],
    ['c2hvcnQ=', /expected 16 to 512 octets: found 5$/],
    ['A'.repeat(1000), /expected 16 to 512 octets: found 750$/],
  ]
  for (const [secret, message] of unusable) {
    const key = tsig(t, { secret })
    assert.throws(() => readTsigKey(key), { code: 'ATLAS_CERTIFICATE', message })
  }
  const missing = { ...tsig(t), secretFile: '/nonexistent/secret' }
  const solver = createUpdateSolver(config({ host: '127.0.0.1', port: 1 }, { tsig: missing }), dependencies())
  await assert.rejects(solver.present(challengeFor('www.example.net')), {
    code: 'ATLAS_CERTIFICATE',
    message: /Cannot use the TSIG secret of \/nonexistent\/secret \(atlas\.yaml:3:5\): there is no such file/,
  })
})

test('a secret that has changed in its file is used from then on; lines and spaces do not matter', async (t) => {
  const server = await serve(t, { key: { name: 'acme.key', hash: 'sha256', secret: SECRET } })
  const key = tsig(t, { secret: randomBytes(32).toString('base64') })
  const seen = await serve(t, { records: { [`${RECORD} 16`]: [txtData(txtOf(challengeFor('www.example.net')))] } })
  const solver = createUpdateSolver({ ...config(server.endpoint, { tsig: key }), servers: [seen.endpoint] }, dependencies())
  await assert.rejects(solver.present(challengeFor('www.example.net')), /BADSIG/)
  writeFileSync(key.secretFile, `${SECRET.toString('base64').replace(/^.{8}/, '$&\n ')}\n`)
  await solver.present(challengeFor('www.example.net'))
})

test('remove() never rejects, and says what stays', async (_t) => {
  const deps = dependencies()
  const server = await UpdateServer.start({ zones: ['example.net'] })
  const solver = createUpdateSolver(config(server.endpoint), deps)
  const challenge = challengeFor('www.example.net')
  await solver.present(challenge)
  await server[Symbol.asyncDispose]()
  await solver.remove(challenge)
  assert.match(
    deps.left.join(),
    /^Cannot remove _acme-challenge\.www\.example\.net\. TXT ".{43}": the server 127\.0\.0\.1:\d+ has not taken the update: .*ECONNREFUSED/,
  )
  await solver.remove(challengeFor('never.example.net'))
  assert.equal(deps.left.length, 1)
})

test('what cannot be asked for by dns-01 is said so', async () => {
  const solver = createUpdateSolver(config({ host: '127.0.0.1', port: 1 }), dependencies())
  const long = `${'a'.repeat(60)}.`.repeat(4)
  for (const identifier of [
    { type: 'ip', value: '192.0.2.1' },
    { type: 'dns', value: `${long}net` },
  ] as const) {
    await assert.rejects(solver.present({ ...challengeFor('x'), identifier }), /it is no name that can be asked for/)
  }
})

test('close() ends what is under way, and remove() still works then', async (t) => {
  const server = await serve(t, { zones: ['example.net'] })
  const elsewhere = await serve(t)
  let closed = Promise.resolve()
  const deps = dependencies({
    pause: async (_ms, signal) => {
      closed = solver.close()
      signal.throwIfAborted()
    },
  })
  const solver = createUpdateSolver({ ...config(server.endpoint), servers: [elsewhere.endpoint] }, deps)
  const challenge = challengeFor('www.example.net')
  await assert.rejects(solver.present(challenge), /the gateway gives it up$/)
  await closed
  assert.equal(server.texts(RECORD).length, 1)
  await solver.remove(challenge)
  assert.deepEqual(server.texts(RECORD), [])
  await assert.rejects(solver.present(challenge), /the gateway gives it up$/)
})

test('the zone is that of the nearest SOA record', async (t) => {
  const zones = ['example.net', 'www.example.net']
  const server = await serve(t, {
    zones: ['www.example.net', 'example.net'],
    records: { 'www.example.net 6': [soaData('www.example.net')] },
  })
  await createUpdateSolver(config(server.endpoint, { zone: null }), dependencies()).present(challengeFor('www.example.net'))
  assert.deepEqual(server.updates, [`+ ${RECORD} 1`], zones.join())
})
