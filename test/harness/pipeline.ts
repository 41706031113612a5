import assert from 'node:assert/strict'
import type { Answer } from '../../dns/answer.ts'
import type { Client, Upstream } from '../../dns/contracts.ts'
import type { Failure } from '../../dns/failure.ts'
import { Query } from '../../dns/query.ts'
import type { ServerCookies } from '../../dns/server-cookies.ts'
import { Pipeline } from '../../gateway/pipeline.ts'
import { AcceptStage } from '../../gateway/stages/accept.ts'
import { AccessStage } from '../../gateway/stages/access.ts'
import { type ClientSubnetMode, ClientSubnetStage } from '../../gateway/stages/client-subnet.ts'
import { ForwardStage } from '../../gateway/stages/forward.ts'
import { RouteStage } from '../../gateway/stages/route.ts'
import { RouteTable } from '../../gateway/stages/route-table.ts'
import { ShapeStage } from '../../gateway/stages/shape.ts'
import { SpecialNamesStage, specialNames } from '../../gateway/stages/special-names.ts'
import { Wheel } from '../../net/wheel.ts'
import { testCache } from './cache.ts'
import { concurrencyLimit } from './limits.ts'
import { aRecord, client, hex, readAnswer, response, wireName } from './messages.ts'

/**
 * One gateway without sockets: what a message is answered with on one kind of transport, and whether an upstream was asked. `routed` are
 * suffixes for which there are routes.
 */
export function ask(
  wire: Uint8Array,
  of: Client = client('tcp'),
  cookies: ServerCookies | null = null,
  routed: readonly string[] = [],
  clientSubnet: ClientSubnetMode = 'off',
): { reply: Buffer | null; refused: Failure | null; forwarded: Query | null } {
  const outcome: { reply: Buffer | null; refused: Failure | null; forwarded: Query | null } = {
    reply: null,
    refused: null,
    forwarded: null,
  }
  const upstream: Upstream = {
    name: 'fake',
    send(query, sink) {
      outcome.forwarded = query
      sink.answered(query, readAnswer(query, response(query.wire, { answers: [aRecord()] })))
    },
  }
  const cache = testCache({ bytes: 0 })
  const pipeline = new Pipeline(
    (settler) => [
      new ShapeStage({ padding: true }),
      new AccessStage(),
      new AcceptStage({ cookies }),
      new ClientSubnetStage(clientSubnet),
      new SpecialNamesStage(specialNames(routed.map((name) => ({ suffix: wireName(name) })))),
      new RouteStage(new RouteTable([], { space: 1, upstream })),
      new ForwardStage({ cache, settler, clock: () => 0, wheel: new Wheel(() => 0), inFlight: concurrencyLimit() }),
    ],
    { clock: () => 0, observer: { onQuery() {}, onAnswer() {}, onRefusal() {} }, queryTimeoutMs: 4000 },
  )
  const sink = {
    deliver(query: Query, answer: Answer) {
      assert.equal(outcome.reply, null, 'answered twice')
      const out = Buffer.alloc(65_535)
      outcome.reply = out.subarray(0, answer.encodeInto(out, 0, query, 0))
    },
    refuse(_query: Query, failure: Failure) {
      outcome.refused = failure
    },
  }
  pipeline.accept(new Query(of, sink, 0, wire))
  return outcome
}

export function replyTo(wire: Uint8Array, of?: Client, cookies?: ServerCookies): Buffer {
  const { reply } = ask(wire, of, cookies)
  assert.ok(reply, 'expected an answer')
  return reply
}

export const rcode = (message: Buffer): number => (message[3] ?? 0) & 0x0f
export const flags = (message: Buffer): number => message.readUInt16BE(2)
export const counts = (message: Buffer): number[] => [4, 6, 8, 10].map((at) => message.readUInt16BE(at))

/** Offset of the OPT record, which is always last and starts with a root name; -1 without one. */
export function optOf(message: Buffer): number {
  return message.readUInt16BE(10) === 0 ? -1 : message.indexOf(hex('00002904d0'))
}

export function edeOf(message: Buffer): number | null {
  const at = optOf(message)
  const option = at < 0 ? -1 : message.indexOf(hex('000f'), at + 11)
  return option < 0 ? null : message.readUInt16BE(option + 4)
}

export function withRecords(wire: Buffer, countAt: number, ...records: Buffer[]): Buffer {
  const message = Buffer.concat([wire, ...records])
  message.writeUInt16BE(message.readUInt16BE(countAt) + records.length, countAt)
  return message
}
