import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { createUpdateSolver } from '../../certs/acme/dns-01/solver.ts'
import { challengeFor, dependencies, txtOf } from '../certs/acme/dns-01/challenges.ts'
import { freePort, Holdings, missing, run, start } from '../harness/real.ts'

const ALGORITHMS = ['sha256', 'sha384', 'sha512'] as const

test('BIND takes the updates of dns-01, signed with each algorithm, and explains those that it does not take', {
  skip: missing('named', 'dig'),
}, async (t) => {
  const holdings = new Holdings(t)
  const port = await freePort()
  const file = (name: string) => join(holdings.folder, name)
  const keys = ALGORITHMS.map((hash) => ({ hash, name: `acme-${hash}.`, secret: randomBytes(32).toString('base64') }))
  writeFileSync(
    file('example.net.zone'),
    '@ 300 IN SOA ns.example.net. hostmaster.example.net. 1 3600 600 86400 1\n@ 300 IN NS ns.example.net.\nns 300 IN A 127.0.0.1\n' +
      '_acme-challenge.alias 300 IN CNAME elsewhere.example.net.\n',
  )
  const keyClauses = keys.map(({ hash, name, secret }) => `key "${name}" { algorithm hmac-${hash}; secret "${secret}"; };`)
  const grants = keys.map(
    ({ name }) => `grant ${name} name _acme-challenge.www.example.net. TXT; grant ${name} name elsewhere.example.net. TXT;`,
  )
  writeFileSync(
    file('named.conf'),
    `${keyClauses.join('\n')}
options {
  directory "${holdings.folder}"; pid-file none; session-keyfile none; recursion no; listen-on-v6 { none; };
  listen-on port ${port} { 127.0.0.1; };
};
controls {};
zone "example.net" { type primary; file "example.net.zone"; update-policy { ${grants.join(' ')} }; };
`,
  )
  const named = start(holdings, 'named', ['-g', '-c', file('named.conf')])
  await named.until(/ running$/m)
  const server = { host: '127.0.0.1', port }
  const solver = (rest: { hash?: (typeof ALGORITHMS)[number]; name?: string; secret?: string; zone?: string | null } = {}) => {
    const { hash = 'sha256', name = `acme-${hash}`, secret = keys.find((key) => key.hash === hash)?.secret ?? '', zone = null } = rest
    const secretFile = file(`${randomBytes(4).toString('hex')}.secret`)
    writeFileSync(secretFile, secret)
    const tsig = { name, algorithm: `hmac-${hash}` as const, secretFile, origin: 'atlas.yaml:1:1' }
    return createUpdateSolver({ server, zone, tsig, timeoutMs: 10_000, servers: [server] }, dependencies())
  }
  const texts = async (name: string): Promise<readonly string[]> => {
    const { text } = await run('dig', ['@127.0.0.1', '-p', String(port), '+short', '+tries=1', name, 'TXT'])
    return text.split('\n').flatMap((line) => /^"(.*)"$/.exec(line)?.[1] ?? [])
  }

  const challenges = ALGORITHMS.map((hash) => [hash, challengeFor('www.example.net', hash)] as const)
  const solvers = new Map(ALGORITHMS.map((hash) => [hash, solver({ hash })]))
  await Promise.all(challenges.map(([hash, challenge]) => solvers.get(hash)?.present(challenge)))
  const name = '_acme-challenge.www.example.net'
  assert.deepEqual((await texts(name)).toSorted(), challenges.map(([, challenge]) => txtOf(challenge)).toSorted())
  await Promise.all(challenges.slice(1).map(([hash, challenge]) => solvers.get(hash)?.remove(challenge)))
  assert.deepEqual(
    await texts(name),
    challenges.slice(0, 1).map(([, challenge]) => txtOf(challenge)),
  )

  const aliased = challengeFor('alias.example.net')
  const made = solver()
  await made.present(aliased)
  assert.deepEqual(await texts('elsewhere.example.net'), [txtOf(aliased)])
  await made.remove(aliased)
  assert.deepEqual(await texts('elsewhere.example.net'), [])

  const refused = [
    [solver(), 'other.example.net', /REFUSED: its policy does not let this key change _acme-challenge\.other\.example\.net\. TXT/],
    [solver({ name: 'unknown' }), 'www.example.net', /BADKEY: it does not know the key unknown with hmac-sha256/],
    [solver({ secret: randomBytes(32).toString('base64') }), 'www.example.net', /BADSIG: it has another secret for the key acme-sha256/],
    [solver({ zone: 'www.example.net' }), 'www.example.net', /NOTAUTH: it is not the primary of the zone www\.example\.net\./],
    [solver({ zone: 'example.net' }), 'www.example.org', /is not found: .*REFUSED/],
  ] as const
  for (const [each, host, message] of refused) await assert.rejects(each.present(challengeFor(host)), message)
})
