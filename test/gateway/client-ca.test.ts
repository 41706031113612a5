import assert from 'node:assert/strict'
import { once } from 'node:events'
import test, { describe } from 'node:test'
import { checkGateway } from '../../gateway/assembly/check.ts'
import { issue } from '../certs/issue.ts'
import {
  alice,
  credentialsOf,
  dave,
  otherRoot,
  pathOf,
  QUERY,
  ROOT_FILE,
  root,
  showing,
  visit,
  wanting,
  writeRoots,
} from '../harness/client-certificates.ts'
import { openHttp2 } from '../harness/clients.ts'
import { runGateway, testConfig } from '../harness/gateway.ts'
import { dotAt } from '../harness/keeper.ts'
import { ANYWHERE, answering, changesOf, listen } from '../harness/reload.ts'
import { dnsServer } from '../harness/servers.ts'

describe('a client CA', () => {
  test('is exchanged by a reload: connections of before end, and neither the former clients nor their sessions come in', async () => {
    await using upstream = await dnsServer(answering)
    const file = writeRoots('changing.pem', root)
    const places = listen({ dot: [wanting(file), ANYWHERE], doh: [wanting(file)], doq: [] })
    await using gateway = await runGateway([upstream.endpoint], places)
    const unasking = gateway.gateway.facts.endpoints.dot[1] ?? assert.fail()
    const former = await dotAt(showing(gateway, alice), gateway.dot)
    await former.ask(QUERY)
    const bystander = await dotAt(gateway, unasking)
    const http2 = openHttp2(showing(gateway, alice))
    await once(http2, 'connect')
    const ended = once(http2, 'close')
    const { session } = await visit(gateway, gateway.dot, credentialsOf(alice))
    assert.ok(session)
    assert.equal((await gateway.reload({})).outcome, 'unchanged')

    writeRoots('changing.pem', otherRoot)
    assert.deepEqual(changesOf(await gateway.reload({})), [{ path: 'listen', from: 'client CA files', to: 'other content' }])
    await former.closed()
    await ended
    assert.equal((await visit(gateway, gateway.dot, { ...credentialsOf(alice), session })).reaction.kind, 'closed')
    assert.equal((await visit(gateway, gateway.dot, credentialsOf(dave))).reaction.kind, 'answer')

    writeRoots('changing.pem', root, otherRoot)
    await gateway.reload({})
    for (const certificate of [alice, dave])
      assert.equal((await visit(gateway, gateway.dot, credentialsOf(certificate))).reaction.kind, 'answer')
    await bystander.ask(QUERY)
    bystander.socket.destroy()
  })

  test('that is asked for by a reload ends the connections of before, and one that is not any more leaves them', async () => {
    await using upstream = await dnsServer(answering)
    await using gateway = await runGateway([upstream.endpoint], listen({ dot: [ANYWHERE] }))
    const { dot } = gateway
    const place = { ...ANYWHERE, endpoint: dot }
    const unknown = await dotAt(gateway, dot)
    await unknown.ask(QUERY)
    assert.equal((await gateway.reload(listen({ dot: [{ ...wanting(ROOT_FILE), endpoint: dot }] }))).outcome, 'applied')
    await unknown.closed()
    const known = await dotAt(showing(gateway, alice), dot)
    await known.ask(QUERY)
    assert.equal((await gateway.reload(listen({ dot: [place] }))).outcome, 'applied')
    await known.ask(QUERY)
    known.socket.destroy()
    assert.equal((await visit(gateway, dot, {})).reaction.kind, 'answer')
  })

  test('that has expired is a warning: its clients are refused without a word', async () => {
    const former = await issue({ subject: 'CN=former', isCa: true, from: -10, until: -1 })
    const file = writeRoots('former.pem', root, former)
    const [warning = '', ...none] = await checkGateway(testConfig([], listen({ dot: [wanting(file)], doh: [wanting(file)] })))
    assert.match(warning, /former\.pem: the root CN=former has expired on \S+Z: clients with certificates of it are refused$/)
    assert.deepEqual(none, [])
  })

  test('whose file cannot be used is found before anything is touched', async () => {
    const [missing, empty] = [pathOf('missing.pem'), writeRoots('empty.pem')]
    const config = (file: string) => testConfig([], listen({ dot: [wanting(file)] }))
    const message = (file: string, reason: string) => `Cannot use CA file: ${reason}: ${file} (atlas.yaml:3:5)`
    for (const [file, reason] of [
      [missing, 'there is no such file'],
      [empty, 'it is not PEM'],
    ] as const) {
      await assert.rejects(checkGateway(config(file)), { code: 'ATLAS_CERTIFICATE', message: message(file, reason) })
      await assert.rejects(runGateway([], listen({ dot: [wanting(file)] })), { message: message(file, reason) })
    }
    await using gateway = await runGateway([], listen({ doh: [wanting(ROOT_FILE)] }))
    const outcome = await gateway.reload(listen({ doh: [wanting(missing)] }))
    assert.ok(outcome.outcome === 'refused')
    assert.equal(outcome.message, message(missing, 'there is no such file'))
  })
})
