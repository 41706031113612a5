import type { Answer } from '../../dns/answer.ts'
import type { Upstream, UpstreamMeter } from '../../dns/contracts.ts'
import type { Failure } from '../../dns/failure.ts'
import type { Query } from '../../dns/query.ts'
import { type Clock, monotonicClock } from '../../net/clock.ts'
import { Flusher } from '../../net/flusher.ts'
import { Wheel } from '../../net/wheel.ts'
import { Health, type Prober } from '../../upstream/health.ts'
import { allocateHealth, HealthRow } from '../../upstream/health-table.ts'
import { Selection } from '../../upstream/selection.ts'
import type { TrustObserver, UpstreamDependencies, UpstreamServer } from '../../upstream/server.ts'
import { ordered, type Strategy } from '../../upstream/strategies.ts'
import { client, encode, parsedQuery, question } from './messages.ts'

export interface CountingMeter extends UpstreamMeter {
  readonly counts: { sent: number; answered: number; ignored: number; failed: string[]; connections: number }
}

export function countingMeter(): CountingMeter {
  const counts = { sent: 0, answered: 0, ignored: 0, failed: [] as string[], connections: 0 }
  return {
    counts,
    sent: () => counts.sent++,
    answered: () => counts.answered++,
    ignored: () => counts.ignored++,
    connectionOpened: () => counts.connections++,
    connectionClosed: () => counts.connections--,
    failed: (_query, failure) => counts.failed.push(failure.code),
  }
}

export interface RecordingTrust extends TrustObserver {
  /** What was said of the server's certificate, in order: reasons, and '' for an accepted one. */
  readonly said: string[]
}

export function upstreamDependencies(): UpstreamDependencies & { meter: CountingMeter; trust: RecordingTrust } {
  const said: string[] = []
  const trust = { said, refused: (reason: string) => void said.push(reason), accepted: () => void said.push('') }
  return {
    clock: monotonicClock,
    wheel: new Wheel(monotonicClock),
    flusher: new Flusher(),
    meter: countingMeter(),
    trust,
    quic: () => null,
  }
}

export interface Outcome {
  readonly answer: Answer | null
  /** The answer as a client would get it. */
  readonly message: Buffer | null
  readonly failure: Failure | null
  readonly ms: number
}

export interface AskOptions {
  readonly name?: string
  readonly type?: number
  readonly budgetMs?: number
  readonly dnssecOk?: boolean
  /** The client's. */
  readonly id?: number
  readonly clock?: Clock
}

/** Sends one question and waits for the one outcome; a second outcome is an error. */
export async function ask(
  upstream: Pick<Upstream, 'send'>,
  { name = 'example.com', type = 1, budgetMs = 2000, dnssecOk = false, id = 0x1234, clock = monotonicClock }: AskOptions = {},
): Promise<Outcome> {
  const query = parsedQuery(question({ name, type, id, opt: '', optFlags: dnssecOk ? 0x8000 : 0 }), client('tcp'))
  query.receivedAt = clock()
  query.deadline = query.receivedAt + budgetMs
  query.park()
  return new Promise((resolve) => {
    let settled = false
    const settle = (outcome: Pick<Outcome, 'answer' | 'failure'>, of: Query): void => {
      // thrown where it happens: the promise is settled already, and would not tell
      if (settled) throw new Error('settled twice')
      settled = true
      const message = outcome.answer === null ? null : encode(outcome.answer, of)
      resolve({ ...outcome, message, ms: clock() - of.receivedAt })
    }
    upstream.send(query, {
      answered: (of, answer) => settle({ answer, failure: null }, of),
      failed: (of, failure) => settle({ answer: null, failure }, of),
    })
  })
}

/** Several servers, of its own. */
export class OwningUpstream extends Selection {
  readonly #servers: readonly UpstreamServer[]

  constructor(servers: readonly UpstreamServer[], { clock, wheel }: { clock: Clock; wheel: Wheel }, options: SelectionParts = {}) {
    const {
      strategy = ordered(),
      isStrict = false,
      prober = { admit() {} },
      memory = allocateHealth(),
      isAuthenticated = () => true,
    } = options
    const candidates = servers.map((server, i) => ({
      server,
      watch: new Health(server, new HealthRow(memory, i), prober),
      weight: options.weights?.[i] ?? 1,
      key: i,
      isAuthenticated: isAuthenticated(i),
    }))
    super('test', candidates, { clock, wheel, strategy, isStrict })
    this.#servers = servers
  }

  async close(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.close()))
  }
}

export interface SelectionParts {
  readonly strategy?: Strategy
  readonly isStrict?: boolean
  readonly prober?: Prober
  readonly memory?: SharedArrayBuffer
  readonly weights?: readonly number[]
  readonly isAuthenticated?: (position: number) => boolean
}
