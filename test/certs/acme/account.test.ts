import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { problem } from '../../harness/acme-server.ts'
import { AcmeLab } from './lab.ts'

/** Which account placed the last order, by its URL in the state. */
function accountUrl(lab: AcmeLab): string | undefined {
  return lab.content.accounts[lab.server.directory]?.url
}

test('an account outlives a restart, and the loss of the state beside its key', async (t) => {
  const lab = await AcmeLab.start(t)
  await lab.open()
  await lab.settle()
  const url = accountUrl(lab)
  const key = lab.read(`${lab.accountPath}/account.key`)
  await (await lab.open()).renew()
  assert.equal(accountUrl(lab), url)
  assert.equal(lab.server.count('newAccount'), 2, 'looked for, then made')
  lab.write(`${lab.accountPath}/state.json`, '{"accounts": [')
  await (await lab.open()).renew()
  assert.equal(accountUrl(lab), url)
  assert.equal(lab.server.accounts.size, 1)
  assert.equal(lab.read(`${lab.accountPath}/account.key`), key)
})

test('another account key means another account', async (t) => {
  const lab = await AcmeLab.start(t)
  await lab.open()
  await lab.settle()
  const url = accountUrl(lab)
  const path = `${lab.accountPath}/account.key`
  const key = lab.read(path) ?? ''
  rmSync(join(lab.stateDir, path))
  await (await lab.open()).renew()
  assert.notEqual(accountUrl(lab), url)
  lab.write(path, key)
  await (await lab.open()).renew()
  assert.equal(accountUrl(lab), url)
})

test('an account that is gone is made anew, once', async (t) => {
  const lab = await AcmeLab.start(t)
  const identities = await lab.open()
  await lab.settle()
  const url = accountUrl(lab)
  lab.server.accounts.clear()
  await identities.renew()
  assert.notEqual(accountUrl(lab), url)
  assert.equal(lab.server.accounts.size, 1)
  const made = lab.server.count('newAccount')
  lab.server.behaviour.intercept = ({ resource }) =>
    resource === 'newOrder' ? problem('accountDoesNotExist', { status: 400, detail: 'who?' }) : null
  await assert.rejects(identities.renew(), /who\? \(accountDoesNotExist\)/)
  assert.ok(lab.server.count('newAccount') <= made + 2)
})

test('an account is bound to one that the CA knows', async (t) => {
  const lab = await AcmeLab.start(t)
  lab.server.behaviour.externalAccounts = { 'kid-1': 'c2VjcmV0LXNlY3JldC1zZWNyZXQ' }
  await lab.open()
  assert.match(await lab.fails(), /who are you\? \(externalAccountRequired\)/)
  const keyFile = join(lab.stateDir, 'hmac')
  const eab = { keyId: 'kid-1', keyFile, origin: 'atlas.yaml:4:9' }
  const attempt = async (): Promise<string | undefined> => {
    const identities = await lab.open({ eab })
    await identities.renew().catch(() => {})
    return lab.state.problem?.message
  }
  assert.equal(await attempt(), `Cannot use the HMAC key of tls.acme.eab: there is no such file: ${keyFile} (atlas.yaml:4:9)`)
  lab.write('hmac', 'not a key!')
  assert.equal(await attempt(), `Cannot use the HMAC key of tls.acme.eab: it is not base64url: ${keyFile} (atlas.yaml:4:9)`)
  lab.write('hmac', 'c2VjcmV0LXNlY3JldC1zZWNyZXQ\n')
  assert.equal(await attempt(), undefined)
  assert.equal(lab.state.identities.length, 1)
})

test('a damaged account key is named and left alone, and so is the certificate', async (t) => {
  const lab = await AcmeLab.start(t)
  await lab.open()
  await lab.settle()
  const { fingerprint256 } = lab.identity
  const path = `${lab.accountPath}/account.key`
  const good = lab.read(path) ?? ''
  const damages = [
    ['', 'there is no private key in it'],
    [good.slice(0, 60), 'there is no private key in it'],
    [good.replace('MIG', 'MIX'), ''],
  ] as const
  for (const [text, reason] of damages) {
    lab.write(path, text)
    const identities = await lab.open()
    const expected = `Cannot use the ACME account key: ${reason}`
    const named = `: ${path}: restore the file, or move it away for another account`
    await assert.rejects(identities.renew(), ({ message }: Error) => message.startsWith(expected) && message.endsWith(named))
    assert.equal(lab.read(path), text)
    assert.equal(lab.identity.fingerprint256, fingerprint256)
  }
  assert.equal(lab.server.accounts.size, 1)
  assert.equal(lab.server.count('newOrder'), 1)
})

test('the CA is told of another contact, and of none', async (t) => {
  const lab = await AcmeLab.start(t, { email: 'ops@example.net' })
  await lab.open()
  await lab.settle()
  for (const [email, contact] of [
    ['new@example.net', ['mailto:new@example.net']],
    [null, []],
  ] as const) {
    await (await lab.open({ email })).renew()
    assert.deepEqual([...lab.server.accounts.values()][0]?.contact, contact)
  }
  assert.equal(lab.server.count('account'), 2)
  await (await lab.open()).renew()
  assert.equal(lab.server.count('account'), 2, 'only when it changes')
})

test('rollOver() gives the same account another key', async (t) => {
  const lab = await AcmeLab.start(t)
  const identities = await lab.open()
  await lab.settle()
  const before = lab.read(`${lab.accountPath}/account.key`)
  await identities.rollOver()
  assert.notEqual(lab.read(`${lab.accountPath}/account.key`), before)
  assert.equal(lab.read(`${lab.accountPath}/account-next.key`), null)
  await identities.renew()
  assert.equal(lab.server.accounts.size, 1)
})

test('rollOver() that the CA refuses changes nothing', async (t) => {
  const lab = await AcmeLab.start(t)
  const identities = await lab.open()
  await lab.settle()
  const before = lab.read(`${lab.accountPath}/account.key`)
  lab.server.behaviour.intercept = ({ resource }) =>
    resource === 'keyChange' ? problem('unauthorized', { status: 403, detail: 'no' }) : null
  await assert.rejects(
    identities.rollOver(),
    /^OperationalError: Cannot change the key of the ACME account: localhost:\d+ says: no \(unauthorized\)/,
  )
  assert.equal(lab.read(`${lab.accountPath}/account.key`), before)
  assert.equal(lab.read(`${lab.accountPath}/account-next.key`), null)
  await identities.renew()
})

test('a roll-over that was cut short is found again, whichever key the CA has', async (t) => {
  for (const isDone of [true, false]) {
    const lab = await AcmeLab.start(t)
    const identities = await lab.open()
    await lab.settle()
    const before = lab.read(`${lab.accountPath}/account.key`)
    if (isDone) lab.storage.refuses = (path) => path.endsWith('account.key')
    else lab.server.behaviour.intercept = ({ resource }) => (resource === 'keyChange' ? { status: 502 } : null)
    await assert.rejects(identities.rollOver())
    const next = lab.read(`${lab.accountPath}/account-next.key`)
    assert.ok(next !== null)
    lab.storage.refuses = () => false
    await (await lab.open()).renew()
    assert.equal(lab.read(`${lab.accountPath}/account.key`), isDone ? next : before)
    assert.equal(lab.read(`${lab.accountPath}/account-next.key`), null)
    assert.equal(lab.server.accounts.size, 1)
  }
})

test('two directories of one host have accounts of their own', async (t) => {
  const lab = await AcmeLab.start(t)
  await lab.open()
  await lab.settle()
  const first = accountUrl(lab)
  const other = `${lab.server.directory}/other`
  await (await lab.open({ directory: other })).renew()
  assert.equal(accountUrl(lab), first)
  assert.ok(lab.content.accounts[other] !== undefined)
})
