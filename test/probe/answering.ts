import type { Answer } from '../../dns/answer.ts'
import type { Query } from '../../dns/query.ts'
import { Query as ClientQuery } from '../../dns/query.ts'
import { Pipeline } from '../../gateway/pipeline.ts'
import type { ProbeTarget, ProbeTransport } from '../../gateway/probe/target.ts'
import { AcceptStage } from '../../gateway/stages/accept.ts'
import { AccessStage } from '../../gateway/stages/access.ts'
import { ProbeStage } from '../../gateway/stages/probe.ts'
import { ShapeStage } from '../../gateway/stages/shape.ts'
import { SpecialNamesStage, specialNames } from '../../gateway/stages/special-names.ts'
import { client } from '../harness/messages.ts'

export const TOKEN = '0123456789abcdef0123456789abcdef'
const OBSERVER = { onQuery() {}, onAnswer() {}, onRefusal() {} }

/** What a worker answers to a message, by its pipeline. */
export function answerOf(worker: number): (message: Uint8Array) => Buffer {
  const stages = [
    new ShapeStage({ padding: true }),
    new AccessStage(),
    new AcceptStage({ cookies: null }),
    new ProbeStage({ token: TOKEN, worker }),
    new SpecialNamesStage(specialNames([])),
  ]
  const pipeline = new Pipeline(() => stages, { clock: () => 0, observer: OBSERVER, queryTimeoutMs: 4000 })
  return (message) => {
    const out = Buffer.alloc(65_535)
    let length = 0
    const deliver = (query: Query, answer: Answer): void => {
      length = answer.encodeInto(out, 0, query, 0)
    }
    pipeline.accept(new ClientQuery(client('tcp'), { deliver, refuse() {} }, 0, message))
    return out.subarray(0, length)
  }
}

export function targetAt(transport: ProbeTransport, port: number, rest: Partial<ProbeTarget> = {}): ProbeTarget {
  const kind = transport === 'udp' || transport === 'tcp' ? 'dns' : transport === 'doh3' ? 'doh' : transport
  const endpoint = { host: '127.0.0.1', port }
  return {
    kind,
    transport,
    endpoint,
    server: endpoint,
    host: 'localhost',
    path: '/dns-query',
    cleartext: false,
    needsToken: false,
    ...rest,
  }
}
