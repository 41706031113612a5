import assert from 'node:assert/strict'
import test, { after, before, describe } from 'node:test'
import type { Upstream } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import { Rcode } from '../../dns/types.ts'
import { HealthState } from '../../upstream/health-table.ts'
import { fastest, hashed, ordered, race, roundRobin, type Strategy, weighted } from '../../upstream/strategies.ts'
import { issue } from '../certs/issue.ts'
import { response } from '../harness/messages.ts'
import type { Handler } from '../harness/servers.ts'
import { answering, eventually, Group, Member, silent } from './group.ts'
import { type Kind, root } from './servers.ts'

/*
 * What is promised whatever the servers are asked over, and whatever chooses between them: every question is answered, once (ask() throws where
 * a second outcome comes), and a server that does not work gets next to none of them.
 */

const AUTHENTICATED: ReadonlySet<Kind> = new Set(['tls', 'https', 'quic', 'h3'])
const STRATEGIES: Readonly<Record<string, () => Strategy>> = {
  ordered,
  'round-robin': () => roundRobin(3),
  weighted,
  fastest,
  race,
  hash: hashed,
}

/** Asked at once, so that this many may have gone to a server before anything is known of it. */
const AT_ONCE = 10
const SOME = 30
/** Of so many questions one is sent to a server besides, to know it (Selection). */
const EXPLORED_EVERY = 64

const nobody = await issue({ names: ['other.example'], addresses: ['127.0.0.9'], issuer: root })
/** Of an authority that is trusted, for somebody else. */
const OTHER_NAME = { cert: nobody.certPem, key: nobody.keyPem }

/** Further away than who answers at once, and not so far that nobody would ask it (Selection). */
const distant: Handler = (query, reply, connection) => void setTimeout(() => answering(query, reply, connection), 20)
const servfail: Handler = (query, reply) => reply(response(query, { flags: 0x8180 | Rcode.SERVFAIL }))
const garbage: Handler = (_query, reply) => reply(Buffer.alloc(64, 0xa5))
/** Answers what nobody has asked: another name, or for the root another type. */
const wrongQuestion: Handler = (query, reply) => {
  const other = Buffer.from(query)
  other.writeUInt8((other[13] ?? 0) ^ 1, 13)
  answering(other, reply, { destroy() {} })
}
/** Answers with nothing but the end of the connection. */
const hangingUp: Handler = (_query, _reply, connection) => connection.destroy()

type Three = readonly [Member, Member, Member]

async function three(kind: Kind): Promise<Three> {
  return [await Member.start(kind), await Member.start(kind), await Member.start(kind)]
}

/** All are alive and well, and have been asked for nothing. */
async function restore(members: Three): Promise<void> {
  for (const member of members) {
    await member.rise()
    member.handler = answering
    member.asked = 0
  }
}

/** Runs the tests for servers that are asked over each of `kinds`, all kinds at once. */
export function testMatrix(kinds: readonly Kind[]): void {
  describe('three servers', { concurrency: true }, () => {
    for (const kind of kinds) {
      describe(`asked over ${kind}`, { concurrency: 1 }, () => {
        let members: Three
        before(async () => {
          members = await three(kind)
        })
        after(async () => {
          for (const member of members) await member[Symbol.asyncDispose]()
        })
        for (const [name, strategy] of Object.entries(STRATEGIES)) {
          describe(name, { concurrency: 1 }, () => promises(() => members, kind, strategy))
        }
      })
    }
  })
}

function promises(membersNow: () => Three, kind: Kind, strategy: () => Strategy): void {
  /** With all of them up, and some questions answered; the first is what every strategy asks. */
  const begin = async () => {
    const members = membersNow()
    await restore(members)
    const [victim, ...others] = members
    if (strategy().explores) for (const other of others) other.handler = distant
    const group = Group.of(members)
    await group.untilUp(0, 1, 2)
    // the first answer to a probe has a handshake in it
    for (let i = 0; i < 50; i++) group.healths[0]?.row.answered(1)
    const upstream = group.selection(strategy())
    await group.askAll(upstream, { count: SOME, atOnce: AT_ONCE })
    return { members, group, upstream, victim }
  }

  /** Asks, and gets every answer, until nobody asks the first any more. */
  const untilLeft = (group: Group, upstream: Upstream) =>
    eventually('nobody asks it any more', async () => {
      await group.askAll(upstream, { count: AT_ONCE, atOnce: AT_ONCE })
      return group.stateOf(0) !== HealthState.UP
    })

  test('all are well: every question is answered', async () => {
    const { members, group } = await begin()
    await using _ = group
    const most = strategy().hedges ? 2 : 1.5
    const asked = members.reduce((sum, member) => sum + member.asked, 0)
    assert.ok(asked >= SOME && asked <= most * SOME, `asked ${asked} times`)
    assert.ok(members[0].asked > 0)
  })

  test('one is silent, or nobody listens there, from the start: no client waits for it', async () => {
    const members = membersNow()
    for (const begin of [() => (members[0].handler = silent), () => members[0].die()]) {
      await restore(members)
      await begin()
      await using group = Group.of(members)
      await group.untilUp(1, 2)
      await group.askAll(group.selection(strategy()), { count: EXPLORED_EVERY + 1, atOnce: AT_ONCE })
      // one, to see; and some while this machine is so busy that the others seem to be dead, too
      assert.ok(members[0].asked <= EXPLORED_EVERY / 4, `asked ${members[0].asked} times`)
    }
  })

  test('one goes silent in the middle: every question is answered, and soon it gets none', async () => {
    const { group, upstream, victim } = await begin()
    await using _ = group
    victim.handler = silent
    await untilLeft(group, upstream)
    // not at once where this machine is so busy that the others seem to be dead, too
    await eventually('it gets none', async () => {
      victim.asked = 0
      await group.askAll(upstream, { count: SOME, atOnce: AT_ONCE })
      return victim.asked === 0
    })
  })

  test('one closes everything in the middle, and comes back: every question is answered', async () => {
    const { group, upstream, victim } = await begin()
    await using _ = group
    await victim.die()
    await untilLeft(group, upstream)
    await victim.rise()
    await group.untilUp(0)
    await group.askAll(upstream, { count: SOME, atOnce: AT_ONCE })
  })

  for (const [how, handler] of [
    ['answers SERVFAIL', servfail],
    ['answers another question', wrongQuestion],
    ['answers garbage', garbage],
    ['hangs up', hangingUp],
  ] as const) {
    test(`one ${how}: every question is answered by the others, and it gets few`, async () => {
      const { group, upstream, victim } = await begin()
      await using _ = group
      victim.handler = handler
      await eventually('it gets next to none', async () => {
        victim.asked = 0
        await group.askAll(upstream, { count: SOME, atOnce: AT_ONCE })
        // to see whether it has become better
        return victim.asked <= 1
      })
    })
  }

  if (AUTHENTICATED.has(kind)) {
    test('one has a certificate for another name: it is never asked, and the others answer', async () => {
      const members = membersNow()
      await restore(members)
      await using refused = await Member.start(kind, { identity: OTHER_NAME })
      await using group = Group.of([refused, members[1], members[2]])
      await group.askAll(group.selection(strategy()), { count: SOME, atOnce: AT_ONCE })
      assert.equal(refused.seen, 0)
    })

    test('all have certificates for another name: nothing is asked, and the reason is told', async () => {
      await using first = await Member.start(kind, { identity: OTHER_NAME })
      await using second = await Member.start(kind, { identity: OTHER_NAME })
      await using group = Group.of([first, second])
      const outcomes = await group.ask(group.selection(strategy()), { count: AT_ONCE })
      assert.deepEqual(new Set(outcomes.map(({ failure }) => failure)), new Set([Failure.upstream_certificate]))
      assert.equal(first.seen + second.seen, 0)
    })
  }
}
