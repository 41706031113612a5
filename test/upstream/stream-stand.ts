import { createServer as createPlainServer, type Socket } from 'node:net'
import { createServer as createSecureServer } from 'node:tls'
import { Failure } from '../../dns/failure.ts'
import type { Endpoint } from '../../net/address.ts'
import { monotonicClock } from '../../net/clock.ts'
import { Wheel } from '../../net/wheel.ts'
import { createServer } from '../../upstream/dial.ts'
import type { Dial, Dialer, DialSink } from '../../upstream/dialer.ts'
import type { ConnectionTerms, UpstreamServer } from '../../upstream/server.ts'
import { StreamUpstream } from '../../upstream/stream.ts'
import { until } from '../harness/until.ts'
import { type AskOptions, ask, type Outcome, upstreamDependencies } from '../harness/upstream.ts'
import { leaf, terms, trust } from './servers.ts'

export type StreamProtocol = 'tcp' | 'tls'

export interface StreamStand {
  readonly upstream: UpstreamServer
  readonly dependencies: ReturnType<typeof upstreamDependencies>
  ask(options?: AskOptions): Promise<Outcome>
  /** Puts its clock forward, and lets what is then due happen. */
  forward(ms: number): void
}

/** An upstream over streams whose clock can be put forward, by itself goes on or stands still. */
export function standWith(
  make: (dependencies: StreamStand['dependencies']) => UpstreamServer,
  running: () => number = monotonicClock,
): StreamStand {
  let ahead = 0
  const clock = (): number => running() + ahead
  const wheel = new Wheel(clock)
  const dependencies = { ...upstreamDependencies(), clock, wheel }
  const upstream = make(dependencies)
  return {
    upstream,
    dependencies,
    ask: ({ budgetMs = 2000, ...rest } = {}) => ask(upstream, { ...rest, budgetMs: budgetMs + ahead }),
    forward(ms) {
      ahead += ms
      wheel.advance(clock())
    },
  }
}

export function streamTo(protocol: StreamProtocol, endpoint: Endpoint, parts: Partial<ConnectionTerms> = {}): StreamStand {
  const common = { name: 'test', endpoint, terms: terms(parts) }
  return standWith((dependencies) =>
    protocol === 'tls'
      ? createServer({ ...common, protocol, trust: trust() }, dependencies)
      : createServer({ ...common, protocol }, dependencies),
  )
}

export function streamWith(dialer: Dialer, parts: Partial<ConnectionTerms> = {}): StreamStand {
  const start = monotonicClock()
  return standWith(
    (dependencies) => new StreamUpstream(dialer, { name: 'test', terms: terms(parts) }, dependencies),
    () => start,
  )
}

/** The test decides what becomes of each dial. */
export class TestDialer implements Dialer {
  readonly padding = 0
  refusal: Failure | null = null
  answers = 0
  readonly dials: { readonly sink: DialSink; isAborted: boolean }[] = []

  dial(sink: DialSink): Dial {
    const dial = { sink, isAborted: false }
    this.dials.push(dial)
    return {
      abort() {
        dial.isAborted = true
      },
    }
  }

  answered(): void {
    this.answers++
  }

  fail(index: number): void {
    this.dials[index]?.sink.failed(Failure.upstream_network)
  }
}

/** A server of octets: each connection is given to `serve`, which also ends it. */
export async function byteServer(
  protocol: StreamProtocol,
  serve: (socket: Socket) => void,
): Promise<{ endpoint: Endpoint; connections: () => number } & AsyncDisposable> {
  const open = new Set<Socket>()
  let connections = 0
  const onConnection = (socket: Socket): void => {
    connections++
    open.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => open.delete(socket))
    serve(socket)
  }
  const server =
    protocol === 'tls'
      ? createSecureServer({ cert: leaf.certPem, key: leaf.keyPem, ALPNProtocols: ['dot'], allowHalfOpen: true }, onConnection)
      : createPlainServer({ allowHalfOpen: true }, onConnection)
  server.listen(0, '127.0.0.1')
  await until(() => server.listening)
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('Cannot listen')
  return {
    endpoint: { host: '127.0.0.1', port: address.port },
    connections: () => connections,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
