import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { describe, type TestContext } from 'node:test'
import { createCookieSecret, readCookieSecrets } from '../../gateway/assembly/cookie-secrets.ts'
import { CLIENTS } from '../harness/clients.ts'
import { runGateway, type TestGateway } from '../harness/gateway.ts'
import { aRecord, hex, question, response } from '../harness/messages.ts'
import { dnsServer } from '../harness/servers.ts'
import { temporaryDirectory } from '../harness/temporary.ts'

const FIRST = 'e5e973e5a6b2a43f48e7dc849e37bfcf'
const SECOND = '445536BCD2513298075A5D379663C962'
const CLIENT = '2464c4abcf10c957'

function stateWith(t: TestContext, content: string): string {
  const state = temporaryDirectory(t)
  mkdirSync(join(state, 'secrets'))
  writeFileSync(join(state, 'secrets', 'cookies'), content)
  return state
}

describe('the file with the secrets of cookies', () => {
  test('has one a line, the first in use', (t) => {
    assert.deepEqual(readCookieSecrets(stateWith(t, `${FIRST}\n`)), [FIRST])
    assert.deepEqual(readCookieSecrets(stateWith(t, `\n ${SECOND}\r\n\n${FIRST}`)), [SECOND, FIRST])
  })

  test('is not there before the first start, which makes it for its owner alone', async (t) => {
    const state = temporaryDirectory(t)
    assert.deepEqual(readCookieSecrets(state), [])
    const made = await createCookieSecret(state)
    assert.match(made[0] ?? '', /^[0-9a-f]{32}$/)
    assert.deepEqual(readCookieSecrets(state), made)
    assert.equal(statSync(join(state, 'secrets', 'cookies')).mode & 0o777, 0o600)
  })

  for (const [content, problem] of [
    [`${FIRST}\n${SECOND.slice(1)}\n`, ':2:1: expected 32 hexadecimal digits: received 31 characters'],
    [`${FIRST.slice(1)}g`, ':1:1: expected 32 hexadecimal digits: received 32 characters'],
    ['', ':1:1: expected 32 hexadecimal digits: received nothing'],
    [`${FIRST}\n`.repeat(4), ': expected at most 3 secrets: received 4'],
    ['x'.repeat(2_000_000), ': it is larger than 1048576 bytes'],
  ] as const) {
    test(`is refused by its place, without what it holds: ${problem.slice(0, 60)}`, (t) => {
      const state = stateWith(t, content)
      const message = `Cannot use the cookie secrets in ${join(state, 'secrets', 'cookies')}${problem}`
      assert.throws(() => readCookieSecrets(state), { code: 'ATLAS_STATE', message })
    })
  }
})

describe('the cookies of a gateway', () => {
  async function start(state: string) {
    const upstream = await dnsServer((query, reply) => reply(response(query, { answers: [aRecord()] })))
    const gateway = await runGateway([upstream.endpoint], { state })
    return {
      gateway,
      async [Symbol.asyncDispose]() {
        await gateway[Symbol.asyncDispose]()
        await upstream[Symbol.asyncDispose]()
      },
    }
  }

  /** The COOKIE option of the answer over UDP, to a query that has this one. */
  async function learn(gateway: TestGateway, cookie: string): Promise<string> {
    const udp = CLIENTS.find(({ name }) => name === 'udp') ?? assert.fail()
    const option = `000a${(cookie.length / 2).toString(16).padStart(4, '0')}${cookie}`
    const reaction = await udp.send(gateway, question({ name: 'www.example.com', opt: option }))
    if (reaction.kind !== 'answer') assert.fail(reaction.kind)
    const at = reaction.message.lastIndexOf(hex('000a0018'))
    return at < 0 ? '' : reaction.message.toString('hex', at + 4, at + 28)
  }

  test('outlive it, and the roll-over of their secret, but not its end', async (t) => {
    const state = temporaryDirectory(t)
    let cookie: string
    {
      await using running = await start(state)
      cookie = await learn(running.gateway, CLIENT)
      assert.equal(await learn(running.gateway, cookie), cookie)
    }
    await using running = await start(state)
    const { gateway } = running
    assert.equal(await learn(gateway, cookie), cookie)
    const file = join(state, 'secrets', 'cookies')
    writeFileSync(file, `${FIRST}\n${readFileSync(file, 'utf8')}`)
    const rolled = await gateway.reload({})
    assert.ok(rolled.outcome === 'applied')
    assert.deepEqual(rolled.changes, [{ path: 'edns.cookies', from: 'the secrets', to: 'others' }])
    const renewed = await learn(gateway, cookie)
    assert.notEqual(renewed, cookie)
    assert.equal(await learn(gateway, renewed), renewed)
    writeFileSync(file, 'nonsense')
    assert.equal((await gateway.reload({})).outcome, 'refused')
    assert.equal(await learn(gateway, renewed), renewed)
    assert.equal((await gateway.reload({ edns: { padding: true, cookies: false, clientSubnet: 'off' } })).outcome, 'applied')
    assert.equal(await learn(gateway, CLIENT), '')
  })
})

test('a client’s cookie stays between it and the gateway (CK-13)', async () => {
  await using upstream = await dnsServer((query, reply) => reply(response(query, { answers: [aRecord()] })))
  await using gateway = await runGateway([upstream.endpoint])
  for (const { name, send } of CLIENTS) {
    const asked = question({ name: 'www.example.com', opt: `000a0008${CLIENT}` })
    assert.equal((await send(gateway, asked)).kind, 'answer', name)
  }
  const queries = [...upstream.udp.queries, ...upstream.tcp.queries]
  assert.equal(queries.length, CLIENTS.length)
  for (const query of queries) assert.equal(query.includes(hex(CLIENT)), false)
})
