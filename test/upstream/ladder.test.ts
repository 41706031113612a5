import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import type { Upstream } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import { issue } from '../certs/issue.ts'
import { UdpRelay } from '../harness/udp-relay.ts'
import { eventually, Group, Member } from './group.ts'
import { type Kind, root } from './servers.ts'

const nobody = await issue({ names: ['other.example'], addresses: ['127.0.0.9'], issuer: root })
/** Of an authority that is trusted, for somebody else. */
const OTHER_NAME = { cert: nobody.certPem, key: nobody.keyPem }

const COUNT = 10

/** Who has been down begins slowly (Health): so many of COUNT questions are no exploration any more. */
const BACK = 3

interface Stand {
  readonly group: Group
  readonly ladder: Upstream
}

/** Asks and gets every answer, until so many of them come from one server, and none of the others is asked. */
async function untilAsked(server: Member, others: readonly Member[], { group, ladder }: Stand, enough = COUNT): Promise<void> {
  await eventually(`${enough} of ${COUNT} are asked over ${server.kind}`, async () => {
    for (const each of [server, ...others]) each.asked = 0
    await group.askAll(ladder, { count: COUNT })
    return server.asked >= enough && others.every(({ asked }) => asked === 0)
  })
}

describe('a ladder to a real server', () => {
  test('takes the best way that works, remembers it, and goes back up', async () => {
    await using quic = await Member.start('quic')
    await using https = await Member.start('https')
    await using tls = await Member.start('tls')
    await using udp = await Member.start('udp')
    // a network that swallows UDP, but for port 53
    await using network = await UdpRelay.start(null)
    await using group = Group.of([{ kind: 'quic', endpoint: network.endpoint }, https, tls, udp])
    const stand = { group, ladder: group.ladder() }
    // before anything is known
    await group.askAll(stand.ladder, { count: COUNT })
    await untilAsked(https, [quic, tls, udp], stand)
    await https.die()
    await untilAsked(tls, [quic, https, udp], stand)
    await tls.die()
    await untilAsked(udp, [quic, https, tls], stand)
    await tls.rise()
    await untilAsked(tls, [quic, https], stand, BACK)
    network.target = quic.endpoint
    await untilAsked(quic, [https], stand, BACK)
  })

  for (const kind of ['tls', 'https', 'quic', 'h3'] as const satisfies readonly Kind[]) {
    test(`asks nobody in the clear where ${kind} shows a certificate for another name`, async () => {
      await using refused = await Member.start(kind, { identity: OTHER_NAME })
      await using udp = await Member.start('udp')
      await using group = Group.of([refused, udp])
      const outcomes = await group.ask(group.ladder(), { count: 3 * COUNT, atOnce: COUNT })
      assert.deepEqual(new Set(outcomes.map(({ failure }) => failure)), new Set([Failure.upstream_certificate]))
      assert.deepEqual([refused.seen, udp.asked], [0, 0])
    })
  }

  test('asks where the certificate is the right one, and still nobody in the clear when that is gone', async () => {
    await using refused = await Member.start('https', { identity: OTHER_NAME })
    await using tls = await Member.start('tls')
    await using udp = await Member.start('udp')
    await using group = Group.of([refused, tls, udp])
    const ladder = group.ladder()
    await untilAsked(tls, [refused, udp], { group, ladder })
    await tls.die()
    for (const { answer } of await group.ask(ladder, { count: 2, budgetMs: 1000 })) assert.equal(answer, null)
    assert.deepEqual([refused.seen, udp.asked], [0, 0])
  })
})
