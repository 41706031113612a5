import assert from 'node:assert/strict'
import test from 'node:test'
import pino from 'pino'
import { ChallengeSolvers, type ChallengeSolversDependencies } from '../../gateway/assembly/challenge-solvers.ts'
import { DnsChallenges } from '../../gateway/assembly/dns-challenges.ts'
import { hasIpv6 } from '../../gateway/assembly/listeners.ts'
import { parseEndpoint } from '../../net/address.ts'
import { challengeFor } from '../harness/challenges.ts'
import { testConfig } from '../harness/gateway.ts'
import { freePort } from '../harness/real.ts'

const NO_WORKERS = { apply: async () => {}, tell: async () => {} }
const NO_METER = () => assert.fail('nothing is counted')

function solversOf(supervisor: ChallengeSolversDependencies['supervisor']): ChallengeSolvers {
  const config = () => testConfig([])
  return new ChallengeSolvers({ supervisor, dns: new DnsChallenges({ config, meter: NO_METER, log: pino({ level: 'silent' }) }) })
}

test('http-01 at the default addresses does without those of IPv6 on a machine that has none, and shares them', async () => {
  const port = await freePort()
  const http = ['0.0.0.0', '[::]'].map((host) => parseEndpoint(`${host}:${port}`) ?? assert.fail())
  const solvers = solversOf(NO_WORKERS)
  const entry = { challenge: 'http-01', names: ['a.example.net'], http, dns: null } as const
  const [one, two] = [await solvers.open(entry), await solvers.open(entry)]
  const [first, second] = [challengeFor('a.example.net'), challengeFor('b.example.net')]
  await Promise.all([one.present(first), two.present(second)])
  for (const host of hasIpv6() ? ['127.0.0.1', '[::1]'] : ['127.0.0.1']) {
    for (const { token, keyAuthorization } of [first, second]) {
      const response = await fetch(`http://${host}:${port}/.well-known/acme-challenge/${token}`)
      assert.equal(await response.text(), keyAuthorization)
    }
  }
  await Promise.all([one.close(), two.close()])
})

test('tls-alpn-01 tells all workers of all that is pending, and of what is left', async () => {
  const told: [string, readonly string[]][] = []
  const note = (way: string) => async (command: object) =>
    void told.push([way, (command as { certificates: { serverName: string }[] }).certificates.map(({ serverName }) => serverName)])
  const { tlsAlpn } = solversOf({ apply: note('apply'), tell: note('tell') })
  const [one, two] = [challengeFor('A.example.net'), challengeFor('192.0.2.1', 'ip')]
  await tlsAlpn.present(one)
  await tlsAlpn.present(two)
  await tlsAlpn.remove(one)
  // once is enough
  await tlsAlpn.remove(one)
  await tlsAlpn.remove(two)
  assert.deepEqual(told, [
    ['apply', ['a.example.net']],
    ['apply', ['a.example.net', '1.2.0.192.in-addr.arpa']],
    ['tell', ['1.2.0.192.in-addr.arpa']],
    ['tell', []],
  ])
  await assert.rejects(tlsAlpn.present(challengeFor('192.0.2', 'ip')), { code: 'ATLAS_CERTIFICATE', message: /received 192\.0\.2$/ })
})

test('tls-alpn-01 shows nothing that was taken away while its certificate was made', async () => {
  const { tlsAlpn } = solversOf({ apply: async () => assert.fail('it is shown'), tell: async () => {} })
  const challenge = challengeFor('a.example.net')
  const presented = tlsAlpn.present(challenge)
  await tlsAlpn.remove(challenge)
  await presented
  assert.deepEqual(tlsAlpn.certificates, [])
})
