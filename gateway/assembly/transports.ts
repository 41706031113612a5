import type { Logger } from 'pino'
import { type QueryAcceptor, TRANSPORTS, type TransportMeter, type TransportTraits } from '../../dns/contracts.ts'
import { type Endpoint, type Prefix, PrefixSet } from '../../net/address.ts'
import type { Clock } from '../../net/clock.ts'
import type { Flusher } from '../../net/flusher.ts'
import { OutputBudget } from '../../net/output-budget.ts'
import type { QuicEngine } from '../../net/quic.ts'
import type { ServerIdentities } from '../../net/tls.ts'
import type { Wheel } from '../../net/wheel.ts'
import type { ConnectionLimit } from '../../transports/connection-limit.ts'
import { DohTransport } from '../../transports/doh/doh.ts'
import { Http3Transport } from '../../transports/doh/http3.ts'
import { DoqTransport } from '../../transports/doq/doq.ts'
import type { ListenerSlice } from '../../transports/listener.ts'
import { createDotTransport, createTcpTransport } from '../../transports/stream-transport.ts'
import { UdpTransport } from '../../transports/udp.ts'
import type { Config, ListenConfig } from '../config/config.ts'
import { servesHttp3 } from './listeners.ts'

export interface BoundEndpoints {
  readonly dns: readonly Endpoint[]
  readonly dot: readonly Endpoint[]
  readonly doq: readonly Endpoint[]
  readonly doh: readonly Endpoint[]
}

export interface TransportAssembly {
  /** Binds all addresses. After an error it may be called again, for those that are missing. */
  start(): Promise<void>
  readonly endpoints: BoundEndpoints
  /** Whether HTTP/3 is among the transports. */
  readonly http3: boolean
  drain(deadlineMs: number): Promise<void>
  close(): Promise<void>
}

export interface TransportAssemblySettings {
  readonly config: Config
  /** Whether other threads listen on the same addresses. */
  readonly reusePort: boolean
  /** Whether another thread serves HTTP/3 there, so that it is announced here too. */
  readonly http3Elsewhere: boolean
  readonly ticketKeys: Buffer
}

export interface TransportAssemblyDependencies {
  readonly acceptor: QueryAcceptor
  readonly clock: Clock
  readonly wheel: Wheel
  readonly flusher: Flusher
  readonly limit: ConnectionLimit
  readonly meter: (traits: TransportTraits) => TransportMeter
  /** Null when nothing is encrypted. */
  readonly identities: ServerIdentities | null
  /** Null when nothing listens on QUIC, or when there is none for this machine. */
  readonly quic: QuicEngine | null
  readonly log: Logger
}

export function assembleTransports(settings: TransportAssemblySettings, dependencies: TransportAssemblyDependencies): TransportAssembly {
  const { config, reusePort } = settings
  const { meter, identities, quic, log: _, limit, ...shared } = dependencies
  const budget = new OutputBudget(config.workers)
  const tls = { handshakeMs: config.timeouts.handshakeMs, ticketKeys: settings.ticketKeys }
  const connection = { idleMs: config.limits.idle.streamMs, inFlight: config.limits.inFlightPerConnection }
  const udp = new UdpTransport({ ...shared, meter: meter(TRANSPORTS.udp) })
  const tcp = createTcpTransport({ ...shared, limit, budget, meter: meter(TRANSPORTS.tcp) })
  const encrypted =
    identities === null
      ? null
      : {
          dot: createDotTransport({ ...tls, identities }, { ...shared, limit, budget, meter: meter(TRANSPORTS.dot) }),
          doh: new DohTransport(
            { ...tls, identities, idleMs: config.limits.idle.httpMs, maxStreams: config.limits.inFlightPerConnection },
            { ...shared, limit, meter: meter(TRANSPORTS.doh2) },
          ),
        }
  const overQuic = identities === null || quic === null ? null : assembleQuicTransports(config, { ...dependencies, identities, quic })
  const all = [udp, tcp, encrypted?.dot, encrypted?.doh, overQuic?.doq, overQuic?.http3].filter((each) => each != null)
  const { listen, access } = config
  const slices = (entries: readonly ListenConfig[], list: readonly Prefix[]): readonly ListenerSlice[] =>
    entries.map((entry) => ({ endpoint: entry.endpoint, access: new PrefixSet(entry.access ?? list), reusePort }))
  return {
    http3: overQuic?.http3 != null,
    async start() {
      const dns = slices(listen.dns, access.dns)
      await bindTogether(dns, {
        first: (wanted) => tcp.reconfigure({ listen: wanted, connection }),
        second: () => udp.reconfigure({ listen: withPorts(dns, tcp.endpoints) }),
      })
      await encrypted?.dot.reconfigure({ listen: slices(listen.dot, access.encrypted), connection })
      const http3 = this.http3 || settings.http3Elsewhere ? { port: config.public.ports.doh } : null
      const doh = { listen: slices(listen.doh, access.encrypted), paths: config.doh.paths, http3 }
      await bindTogether(doh.listen, {
        first: async (wanted) => encrypted?.doh.reconfigure({ ...doh, listen: wanted }),
        second: async () => overQuic?.http3?.reconfigure({ ...doh, listen: withPorts(doh.listen, encrypted?.doh.endpoints ?? []) }),
      })
      await overQuic?.doq.reconfigure({ listen: slices(listen.doq, access.encrypted) })
    },
    get endpoints() {
      return {
        dns: udp.endpoints,
        dot: encrypted?.dot.endpoints ?? [],
        doq: overQuic?.doq.endpoints ?? [],
        doh: encrypted?.doh.endpoints ?? [],
      }
    },
    async drain(deadlineMs) {
      await Promise.all(all.map((transport) => transport.drain(deadlineMs)))
    },
    async close() {
      await Promise.all(all.map((transport) => transport.close()))
    },
  }
}

function assembleQuicTransports(
  config: Config,
  dependencies: Omit<TransportAssemblyDependencies, 'identities' | 'quic'> & {
    identities: ServerIdentities
    quic: QuicEngine
  },
) {
  const { meter, identities, quic: engine, log, ...shared } = dependencies
  const settings = {
    handshakeMs: config.timeouts.handshakeMs,
    idleMs: config.limits.idle.quicMs,
    inFlight: config.limits.inFlightPerConnection,
  }
  const options = { engine, identities, settings }
  const onTrouble = (error: unknown) => log.error({ err: error }, 'cannot serve QUIC with the new certificate: trying again every second')
  return {
    doq: new DoqTransport(options, { ...shared, onTrouble, meter: meter(TRANSPORTS.doq) }),
    http3:
      servesHttp3(config) && engine.opensUnidirectional
        ? new Http3Transport(options, { ...shared, onTrouble, meter: meter(TRANSPORTS.doh3) })
        : null,
  }
}

/** Ports that the kernel may choose in vain. */
const MAX_CHOICES = 10

/** Binds TCP, then UDP on the same ports. Where the kernel chose a port that somebody has on UDP, it chooses again. */
async function bindTogether(
  listen: readonly ListenerSlice[],
  { first, second }: { first: (listen: readonly ListenerSlice[]) => Promise<void>; second: () => Promise<void> },
): Promise<void> {
  const isChosen = listen.some(({ endpoint }) => endpoint.port === 0)
  for (let choices = 1; ; choices++) {
    await first(listen)
    try {
      await second()
      return
    } catch (error) {
      if (!isChosen || choices === MAX_CHOICES) throw error
      await first([])
    }
  }
}

/** UDP takes the port that the kernel chose for TCP where the configuration leaves the choice to it. */
function withPorts(listen: readonly ListenerSlice[], bound: readonly Endpoint[]): readonly ListenerSlice[] {
  return listen.map((slice, i) => ({ ...slice, endpoint: { ...slice.endpoint, port: bound[i]?.port ?? slice.endpoint.port } }))
}
