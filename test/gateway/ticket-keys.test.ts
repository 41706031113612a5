import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { describe } from 'node:test'
import { makeTicketKey } from '../../certs/tickets/key.ts'
import { readTicketKeys } from '../../gateway/assembly/ticket-key-file.ts'
import { issue } from '../certs/issue.ts'
import { handshake } from '../certs/sessions.ts'
import { runGateway, type TestGateway, TLS } from '../harness/gateway.ts'
import { temporaryDirectory } from '../harness/temporary.ts'
import { runThreads } from '../harness/threads.ts'

const KEYS: readonly string[] = Array.from({ length: 17 }, makeTicketKey)
const [FIRST = '', SECOND = '', THIRD = ''] = KEYS
const HOUR_MS = 3_600_000

describe('the file with the keys of session tickets', () => {
  function fileWith(t: test.TestContext, content: string): string {
    const file = join(temporaryDirectory(t), 'tickets.txt')
    writeFileSync(file, content)
    return file
  }

  test('has one a line, the first in use', (t) => {
    assert.deepEqual(readTicketKeys(fileWith(t, `${FIRST}\n`)), [FIRST])
    assert.deepEqual(readTicketKeys(fileWith(t, `# of the fleet\r\n\r\n  ${SECOND.toUpperCase()} \r\n${FIRST}`)), [SECOND, FIRST])
  })

  const [secret, other] = [FIRST.slice(32), SECOND.slice(0, 32)]
  for (const [content, problem] of [
    ['', ': expected 1 to 16 keys: received 0'],
    ['# nothing\n', ': expected 1 to 16 keys: received 0'],
    [KEYS.join('\n'), ': expected 1 to 16 keys: received 17'],
    [`${FIRST}\n\n ${SECOND.slice(1)}`, ':3:2: expected 96 hexadecimal digits: received 95 characters'],
    [`${FIRST.slice(1)}g`, ':1:1: expected 96 hexadecimal digits: received 96 characters'],
    [`${FIRST} ${SECOND}`, ':1:1: expected 96 hexadecimal digits: received 193 characters'],
    ['00'.repeat(48), ':1:1: expected random octets: received only 1 different ones'],
    ['0123456789abcdef'.repeat(6), ':1:1: expected random octets: received only 8 different ones'],
    [`${FIRST}\n${SECOND}\n${FIRST}`, ':3:1: expected a key of its own: received parts of the one in line 1'],
    [`${FIRST}\n${FIRST.slice(0, 32)}${SECOND.slice(32)}`, ':2:1: expected a key of its own: received parts of the one in line 1'],
    [`${FIRST}\n${other}${secret}`, ':2:1: expected a key of its own: received parts of the one in line 1'],
    ['x'.repeat(2_000_000), ': expected at most 1048576 bytes (1 MiB): received more'],
  ] as const) {
    test(`is refused by its place, without what it holds${problem.slice(0, 60)}`, (t) => {
      const file = fileWith(t, content)
      const message = `Cannot use the session ticket keys in ${file}${problem}`
      assert.throws(() => readTicketKeys(file), { code: 'ATLAS_CONFIG', message })
    })
  }

  test('has to be there', (t) => {
    const file = join(temporaryDirectory(t), 'none')
    assert.throws(() => readTicketKeys(file), { message: /expected a file: received a path that does not exist$/ })
  })
})

const clientOf = ({ dot: { port }, ca }: TestGateway) => ({ port, ca, servername: 'localhost' })

describe('the sessions of a gateway', () => {
  test('outlive it, and two changes of its keys, but not the third', async (t) => {
    const state = temporaryDirectory(t)
    const file = join(state, 'secrets', 'tickets')
    /** As if the keys had been made so much earlier. */
    const age = (ms: number): void => {
      const lines = readFileSync(file, 'utf8').replace(/^\S+/gm, (date) => new Date(Date.parse(date) - ms).toISOString())
      writeFileSync(file, lines)
    }
    const resumed: boolean[] = []
    let session: Buffer
    {
      await using gateway = await runGateway([], { state })
      session = (await handshake(clientOf(gateway))).session
    }
    for (const ms of [0, 12 * HOUR_MS, 12 * HOUR_MS, 12 * HOUR_MS]) {
      age(ms)
      await using gateway = await runGateway([], { state })
      resumed.push((await handshake({ ...clientOf(gateway), session })).isReused)
    }
    assert.deepEqual(resumed, [true, true, true, false])
  })

  test('are those of a fleet where it shares a file, which a reload reads anew', async (t) => {
    const file = join(temporaryDirectory(t), 'tickets.txt')
    writeFileSync(file, FIRST)
    const tls = { ...TLS, ticketKeyFile: file }
    // not the same local CA: a client's session is its own, whatever the certificate is
    await using one = await runGateway([], { tls })
    await using two = await runThreads([], { tls, workers: 2 })
    const resumes = async (gateway: TestGateway, session: Buffer): Promise<readonly boolean[]> => {
      // enough for both workers, all the same which of them the kernel chooses
      const each = Array.from({ length: 12 }, () => handshake({ ...clientOf(gateway), session, rejectUnauthorized: false }))
      return [...new Set((await Promise.all(each)).map(({ isReused }) => isReused))]
    }
    const { session } = await handshake(clientOf(one))
    assert.deepEqual(await resumes(two, session), [true])
    writeFileSync(file, `${SECOND}\n${FIRST}`)
    const outcome = await two.reload({})
    assert.ok(outcome.outcome === 'applied')
    assert.deepEqual(outcome.changes, [{ path: 'tls.ticketKeys', from: 'the keys', to: 'others' }])
    assert.deepEqual(await resumes(two, session), [true])
    writeFileSync(file, 'nonsense')
    assert.equal((await two.reload({})).outcome, 'refused')
    assert.deepEqual(await resumes(two, session), [true])
    writeFileSync(file, `${THIRD}\n${SECOND}`)
    assert.equal((await two.reload({})).outcome, 'applied')
    assert.deepEqual(await resumes(two, session), [false])
  })

  test('end when a name is not served any more', async (t) => {
    const directory = temporaryDirectory(t)
    const root = await issue({ subject: 'CN=root', isCa: true })
    const [first, second] = await Promise.all(
      ['first.test', 'second.test'].map(async (name) => {
        const { certPem, keyPem } = await issue({ issuer: root, names: [name] })
        const files = { cert: join(directory, `${name}.pem`), key: join(directory, `${name}.key`), origin: 'test' }
        writeFileSync(files.cert, certPem)
        writeFileSync(files.key, keyPem)
        return files
      }),
    )
    assert.ok(first !== undefined && second !== undefined)
    await using gateway = await runGateway([], { tls: { ...TLS, certificates: [first] } })
    const client = { ...clientOf(gateway), ca: root.certPem, servername: 'first.test' }
    const { session } = await handshake(client)
    await gateway.reload({ tls: { ...TLS, certificates: [first, second] } })
    assert.equal((await handshake({ ...client, session })).isReused, true)
    await gateway.reload({ tls: { ...TLS, certificates: [first] } })
    assert.equal((await handshake({ ...client, session })).isReused, false)
  })
})
