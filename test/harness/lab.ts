import assert from 'node:assert/strict'
import { Answer } from '../../dns/answer.ts'
import { AnswerReader } from '../../dns/answer-reader.ts'
import type { Client, Upstream, UpstreamSink } from '../../dns/contracts.ts'
import type { Failure } from '../../dns/failure.ts'
import { Query } from '../../dns/query.ts'
import type { Cache } from '../../gateway/cache/cache.ts'
import type { CacheMeter } from '../../gateway/cache/meter.ts'
import { Pipeline } from '../../gateway/pipeline.ts'
import { AcceptStage } from '../../gateway/stages/accept.ts'
import { CacheStage } from '../../gateway/stages/cache.ts'
import { ClientSubnetStage } from '../../gateway/stages/client-subnet.ts'
import { ForwardStage } from '../../gateway/stages/forward.ts'
import { RouteStage } from '../../gateway/stages/route.ts'
import { RouteTable } from '../../gateway/stages/route-table.ts'
import { ShapeStage } from '../../gateway/stages/shape.ts'
import { Wheel } from '../../net/wheel.ts'
import { type TestCacheOptions, testCache } from './cache.ts'
import { concurrencyLimit } from './limits.ts'
import { aRecord, client, type QuestionParts, question, type ResponseParts, response } from './messages.ts'
import { edeOf, rcode } from './pipeline.ts'

/** A clock that is turned by hand, for several threads at once. */
export class HandClock {
  now = 1_000_000
  readonly #wheels: Wheel[] = []

  makeWheel(): Wheel {
    const wheel = new Wheel(() => this.now)
    this.#wheels.push(wheel)
    return wheel
  }

  /** Lets time pass, in the wheels' ticks; long times at once. */
  advance(ms: number): void {
    const step = ms > 10_000 ? ms : 10
    for (const end = this.now + ms; this.now < end; ) {
      this.now = Math.min(this.now + step, end)
      for (const wheel of this.#wheels) wheel.advance(this.now)
    }
  }
}

/** What one query was answered with. */
export class Reply {
  message: Buffer | null = null
  refused: Failure | null = null

  /** The message, which has come. */
  get wire(): Buffer {
    assert.ok(this.message, 'expected an answer')
    return this.message
  }

  get rcode(): number {
    return rcode(this.wire)
  }

  get ede(): number | null {
    return edeOf(this.wire)
  }
}

/** One thread's pipeline with a cache, without sockets: queries in, questions to the upstream out, answers by hand. */
export class Lab {
  readonly clock: HandClock
  readonly cache: Cache
  readonly clientSubnet = new ClientSubnetStage('off')
  /** What was asked of the upstream and is not answered yet, in order. */
  readonly asked: { readonly query: Query; readonly sink: UpstreamSink }[] = []
  /** How often the upstream was asked in all. */
  sent = 0
  readonly #pipeline: Pipeline
  readonly #wheel: Wheel
  readonly #route = new RouteStage(new RouteTable([], { space: 1, upstream: this.#upstream() }))

  constructor(options: TestCacheOptions & { clock?: HandClock; meter?: CacheMeter } = {}) {
    this.clock = options.clock ?? new HandClock()
    this.cache = testCache(options)
    const clock = () => this.clock.now
    const wheel = this.clock.makeWheel()
    this.#wheel = wheel
    this.#pipeline = new Pipeline(
      (settler) => {
        const forward = new ForwardStage({ cache: this.cache, settler, clock, wheel, inFlight: concurrencyLimit({ perClient: 100_000 }) })
        return [
          new ShapeStage({ padding: true }),
          new AcceptStage({ cookies: null }),
          this.clientSubnet,
          this.#route,
          new CacheStage(this.cache, forward),
          forward,
        ]
      },
      { clock, observer: { onQuery() {}, onAnswer() {}, onRefusal() {} }, queryTimeoutMs: 4000 },
    )
  }

  /** Nobody waits, and nothing will happen by itself. */
  get isIdle(): boolean {
    return this.#pipeline.open === 0 && this.#wheel.size === 0
  }

  ask(parts: QuestionParts | string, of: Client = client('tcp')): Reply {
    return this.#accept(question(typeof parts === 'string' ? { name: parts, opt: '' } : { opt: '', ...parts }), of)
  }

  /** Asks for A of a name given as octets; an upstream that is asked answers. */
  askWire(name: Buffer, { opt = '' }: { opt?: string | null } = {}): { reply: Reply; sent: number } {
    const before = this.sent
    const parts = question({ name: '', ...(opt !== null && { opt }) })
    const reply = this.#accept(Buffer.concat([parts.subarray(0, 12), name, parts.subarray(13)]), client('tcp'))
    const sent = this.sent - before
    if (sent > 0) this.answer({ answers: [aRecord()] })
    return { reply, sent }
  }

  #accept(wire: Buffer, of: Client): Reply {
    const reply = new Reply()
    const sink = {
      deliver: (query: Query, answer: Answer) => {
        assert.equal(reply.message, null, 'answered twice')
        const out = Buffer.alloc(65_535)
        reply.message = out.subarray(0, answer.encodeInto(out, 0, query, this.clock.now))
      },
      refuse: (_query: Query, failure: Failure) => {
        reply.refused = failure
      },
    }
    this.#pipeline.accept(new Query(of, sink, 0, wire))
    wire.fill(0xff) // borrowed: whoever still reads it is wrong
    return reply
  }

  /** Other servers are asked from now on. */
  moveTo(space: number): void {
    this.#route.table = new RouteTable([], { space, upstream: this.#upstream() })
  }

  /** The upstream answers what was asked first. */
  answer(parts: ResponseParts): void {
    const { query, sink } = this.#next()
    const message = response(Buffer.concat([query.wire.subarray(0, query.questionEnd)]), parts)
    const answer = new AnswerReader().read(query, message, this.clock.now)
    if (answer instanceof Answer) sink.answered(query, answer)
    else sink.failed(query, answer)
    message.fill(0xff)
  }

  fail(failure: Failure): void {
    const { query, sink } = this.#next()
    sink.failed(query, failure)
  }

  #next() {
    const next = this.asked.shift()
    assert.ok(next, 'nothing was asked')
    return next
  }

  #upstream(): Upstream {
    return {
      name: 'by hand',
      send: (query, sink) => {
        this.sent++
        this.asked.push({ query, sink })
      },
    }
  }
}

/** TTLs of all records of a message whose owners are pointers or the root; OPT left out. */
export function ttlsOf(message: Buffer | null): number[] {
  assert.ok(message)
  const ttls: number[] = []
  let at = 12
  while (message[at] !== 0) at += 1 + (message[at] ?? 0)
  at += 5
  for (let left = message.readUInt16BE(6) + message.readUInt16BE(8) + message.readUInt16BE(10); left > 0; left--) {
    while ((message[at] ?? 0) > 0 && (message[at] ?? 0) < 0xc0) at += 1 + (message[at] ?? 0)
    at += (message[at] ?? 0) >= 0xc0 ? 2 : 1
    if (message.readUInt16BE(at) !== 41) ttls.push(message.readUInt32BE(at + 4))
    at += 10 + message.readUInt16BE(at + 8)
  }
  return ttls
}
