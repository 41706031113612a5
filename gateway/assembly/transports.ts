import type { Logger } from 'pino'
import { type QueryAcceptor, TRANSPORTS, type Transport, type TransportMeter, type TransportTraits } from '../../dns/contracts.ts'
import { type Endpoint, formatEndpoint, type Prefix, PrefixSet } from '../../net/address.ts'
import type { Clock } from '../../net/clock.ts'
import type { Flusher } from '../../net/flusher.ts'
import { interfaceAddresses } from '../../net/interface-addresses.ts'
import { OutputBudget } from '../../net/output-budget.ts'
import type { QuicEngine } from '../../net/quic.ts'
import type { ClientCa, ServerChallenges, ServerIdentities, SessionTickets } from '../../net/tls.ts'
import type { Wheel } from '../../net/wheel.ts'
import type { Access, TokenHolders } from '../../transports/access.ts'
import { DohTransport } from '../../transports/doh/doh.ts'
import { Http3Transport } from '../../transports/doh/http3.ts'
import { DoqTransport } from '../../transports/doq/doq.ts'
import type { Governor } from '../../transports/governor.ts'
import type { ListenerSlice, ServedConnection } from '../../transports/listener.ts'
import { createDotTransport, createTcpTransport, type StreamTransport } from '../../transports/stream-transport.ts'
import { UdpTransport } from '../../transports/udp.ts'
import type { OriginObserver } from '../../transports/web/reachability.ts'
import { type AddressObserver, MAX_ADDRESSES } from '../../transports/wildcard-listener.ts'
import type { Config, ListenConfig } from '../config/config.ts'
import type { ClientCas } from './client-cas.ts'
import type { LocalCaFacts } from './identities.ts'
import { servesHttp3 } from './listeners.ts'

export interface BoundEndpoints {
  readonly dns: readonly Endpoint[]
  readonly dot: readonly Endpoint[]
  readonly doq: readonly Endpoint[]
  readonly doh: readonly Endpoint[]
}

/** A transport by the name of its sockets, as the self-probe has it. */
export type SocketName = 'udp' | 'tcp' | 'dot' | 'doh' | 'doh3' | 'doq'

export interface TransportAssemblySettings {
  /** Threads that listen on the same addresses, this one included. */
  readonly workers: number
  /** Whether other threads listen on the same addresses. */
  readonly reusePort: boolean
  readonly tickets: SessionTickets
  readonly challenges: ServerChallenges
}

export interface TransportAssemblyDependencies {
  readonly acceptor: QueryAcceptor
  readonly clock: Clock
  readonly wheel: Wheel
  readonly flusher: Flusher
  readonly governor: Governor
  readonly meter: (traits: TransportTraits) => TransportMeter
  readonly log: Logger
}

/** What the transports are made of that a change of the configuration may bring. */
export interface TransportParts {
  readonly config: Config
  /** Null until something is encrypted. */
  readonly identities: ServerIdentities | null
  /** For those who are to trust it; null while it is not in use. */
  readonly localCa: LocalCaFacts | null
  /** Whoever uses encrypted DNS has to be among them; null: nobody needs a token. */
  readonly tokens: TokenHolders | null
  readonly clientCas: ClientCas
  /** Null until something listens on QUIC, and where there is none for this machine. */
  readonly quic: QuicEngine | null
  /** Whether another thread serves HTTP/3, so that it is announced here too. */
  readonly http3Elsewhere: boolean
}

/** Something with addresses, whatever its slice is. */
type AnyTransport = Omit<Transport, 'reconfigure'> & {
  readonly endpoints: readonly Endpoint[]
  rebind(endpoint: Endpoint): Promise<void>
}

/** All transports of one thread. */
export class TransportAssembly {
  readonly #settings: TransportAssemblySettings
  readonly #dependencies: TransportAssemblyDependencies
  readonly #udp: UdpTransport
  readonly #tcp: StreamTransport
  readonly #budget: OutputBudget
  /** Made when they are first wanted; what is not wanted any more stays, without addresses. */
  #encrypted: { readonly dot: StreamTransport; readonly doh: DohTransport } | null = null
  #overQuic: { readonly doq: DoqTransport; readonly http3: Http3Transport | null } | null = null
  #servesHttp3 = false

  constructor(settings: TransportAssemblySettings, dependencies: TransportAssemblyDependencies) {
    const { meter, governor, log, ...shared } = dependencies
    this.#settings = settings
    this.#dependencies = dependencies
    this.#budget = new OutputBudget(settings.workers)
    this.#udp = new UdpTransport({
      ...shared,
      addresses: (family) => interfaceAddresses(family),
      observer: addressLog(log),
      meter: meter(TRANSPORTS.udp),
    })
    this.#tcp = createTcpTransport({ ...shared, governor, budget: this.#budget, meter: meter(TRANSPORTS.tcp) })
  }

  get endpoints(): BoundEndpoints {
    return {
      dns: this.#udp.endpoints,
      dot: this.#encrypted?.dot.endpoints ?? [],
      doq: this.#overQuic?.doq.endpoints ?? [],
      doh: this.#encrypted?.doh.endpoints ?? [],
    }
  }

  /** Whether HTTP/3 is served here. */
  get http3(): boolean {
    return this.#servesHttp3
  }

  /** Serves as `config` says, as Transport.reconfigure() does. After an error some of it holds: the former parts bring back what was. */
  async reconfigure(parts: TransportParts): Promise<void> {
    const { config, identities, localCa, tokens, clientCas, quic } = parts
    if (identities !== null) this.#encrypted ??= this.#makeEncrypted(identities)
    if (identities !== null && quic !== null) this.#overQuic ??= this.#makeOverQuic(identities, quic)
    const { listen, access, timeouts, limits } = config
    const inFlight = limits.inFlightPerConnection
    const stream = { idleMs: limits.idle.streamMs, inFlight }
    const overQuic = { handshakeMs: timeouts.handshakeMs, idleMs: limits.idle.quicMs, inFlight }
    const dns = this.#slices(listen.dns, { list: access.dns, tokens: null, clientCas })
    const encrypted = { list: access.encrypted, tokens, clientCas }
    await bindTogether(dns, {
      first: (wanted) => this.#tcp.reconfigure({ listen: wanted, connection: stream }),
      second: () => this.#udp.reconfigure({ listen: withPorts(dns, this.#tcp.endpoints) }),
    })
    await this.#encrypted?.dot.reconfigure({ listen: this.#slices(listen.dot, encrypted), connection: stream })
    const http3 = servesHttp3(config) && this.#overQuic?.http3 != null
    const doh = {
      listen: this.#slices(listen.doh, encrypted),
      connection: { idleMs: limits.idle.httpMs, inFlight },
      handshakeMs: timeouts.handshakeMs,
      offer: {
        ...config.doh,
        takesTokens: tokens !== null,
        // "/" is the origin's, also where HTTP/3 has none of its pages
        landing: config.doh.landing && config.doh.proxy === null,
        // who gives out tokens knows those who ask, and how to reach them
        localCa: tokens === null ? localCa : null,
        trustedProxies: new PrefixSet(config.doh.trustedProxies),
      },
      proxy: config.doh.proxy,
      http3: http3 || parts.http3Elsewhere ? { port: config.public.ports.doh } : null,
    }
    const { offer } = doh
    await bindTogether(doh.listen, {
      first: async (wanted) => this.#encrypted?.doh.reconfigure({ ...doh, listen: wanted }),
      second: async () => {
        const bound = http3 ? withPorts(doh.listen, this.#encrypted?.doh.endpoints ?? []) : []
        const chosen = bound.filter(({ cleartext, proxies, access }) => cleartext !== true && proxies == null && access.clientCa == null)
        await this.#overQuic?.http3?.reconfigure({ listen: chosen, connection: overQuic, offer })
      },
    })
    await this.#overQuic?.doq.reconfigure({ listen: this.#slices(listen.doq, encrypted), connection: overQuic })
    this.#servesHttp3 = http3
  }

  /** All that are open. */
  get connections(): readonly ServedConnection[] {
    const all = [this.#tcp, this.#encrypted?.dot, this.#encrypted?.doh, this.#overQuic?.doq, this.#overQuic?.http3]
    return all.flatMap((transport) => transport?.connections ?? [])
  }

  /** Octets that wait for those who do not take them. */
  get held(): number {
    return this.#budget.held
  }

  async settle(deadlineMs: number): Promise<void> {
    await Promise.all(this.#all().map((transport) => transport.settle(deadlineMs)))
  }

  /** Binds an address anew whose socket does not answer. */
  async rebind(socket: SocketName, endpoint: Endpoint): Promise<void> {
    await this.#named(socket)?.rebind(endpoint)
  }

  async drain(deadlineMs: number): Promise<void> {
    await Promise.all(this.#all().map((transport) => transport.drain(deadlineMs)))
  }

  async close(): Promise<void> {
    await Promise.all(this.#all().map((transport) => transport.close()))
  }

  #slices(entries: readonly ListenConfig[], { list, tokens, clientCas }: CommonTerms): readonly ListenerSlice[] {
    const { reusePort } = this.#settings
    return entries.map(({ endpoint, access, clientCa, cleartext, proxyProtocol }) => ({
      endpoint,
      access: accessOf(access ?? list, { tokens, clientCa: clientCa === null ? null : clientCaOf(clientCas, clientCa.file) }),
      cleartext,
      proxies: proxyProtocol === null ? null : new PrefixSet(proxyProtocol),
      reusePort,
    }))
  }

  #all(): readonly AnyTransport[] {
    const all = [this.#udp, this.#tcp, this.#encrypted?.dot, this.#encrypted?.doh, this.#overQuic?.doq, this.#overQuic?.http3]
    return all.filter((each) => each != null)
  }

  #named(socket: SocketName): AnyTransport | null | undefined {
    switch (socket) {
      case 'udp':
        return this.#udp
      case 'tcp':
        return this.#tcp
      case 'dot':
        return this.#encrypted?.dot
      case 'doh':
        return this.#encrypted?.doh
      case 'doh3':
        return this.#overQuic?.http3
      case 'doq':
        return this.#overQuic?.doq
    }
  }

  #makeEncrypted(identities: ServerIdentities) {
    const { meter, log, ...shared } = this.#dependencies
    const { tickets, challenges } = this.#settings
    const tls = { identities, challenges, tickets }
    return {
      dot: createDotTransport(tls, { ...shared, budget: this.#budget, meter: meter(TRANSPORTS.dot) }),
      doh: new DohTransport(tls, { ...shared, budget: this.#budget, observer: originLog(log), meter: meter(TRANSPORTS.doh2) }),
    }
  }

  #makeOverQuic(identities: ServerIdentities, engine: QuicEngine) {
    const { meter, log, ...shared } = this.#dependencies
    const options = { engine, identities }
    const onTrouble = (error: unknown) => log.error({ err: error }, 'cannot serve QUIC with the new certificate: trying again every second')
    return {
      doq: new DoqTransport(options, { ...shared, onTrouble, meter: meter(TRANSPORTS.doq) }),
      http3: engine.opensUnidirectional ? new Http3Transport(options, { ...shared, onTrouble, meter: meter(TRANSPORTS.doh3) }) : null,
    }
  }
}

/** What holds for all addresses of a transport. */
interface CommonTerms {
  readonly list: readonly Prefix[]
  readonly tokens: TokenHolders | null
  readonly clientCas: ClientCas
}

function accessOf(list: readonly Prefix[], { tokens, clientCa }: Required<Pick<Access, 'tokens' | 'clientCa'>>): Access {
  const set = new PrefixSet(list)
  return { has: (address) => set.has(address), tokens, clientCa }
}

/** Never without it: then anybody could come. */
function clientCaOf(clientCas: ClientCas, file: string): ClientCa {
  const clientCa = clientCas.get(file)
  if (clientCa === undefined) throw new Error(`Cannot ask clients for certificates: the client CA was not read: received ${file}`)
  return clientCa
}

/** Ports that the kernel may choose in vain. */
const MAX_CHOICES = 10

/** Binds TCP, then UDP on the same ports. Where the kernel chose a port that somebody has on UDP, it chooses again. */
export async function bindTogether(
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
export function withPorts(listen: readonly ListenerSlice[], bound: readonly Endpoint[]): readonly ListenerSlice[] {
  return listen.map((slice, i) => ({ ...slice, endpoint: { ...slice.endpoint, port: bound[i]?.port ?? slice.endpoint.port } }))
}

function originLog(log: Logger): OriginObserver {
  return {
    lost: (origin, reason) => log.warn({ origin, reason }, 'the server of doh.proxy cannot be reached: its pages are 502'),
    found: (origin) => log.info({ origin }, 'the server of doh.proxy is reached again'),
  }
}

export function addressLog(log: Logger): AddressObserver {
  const address = formatEndpoint
  return {
    appeared: (endpoint) => log.info({ address: address(endpoint) }, 'DNS over UDP is served on another address of this machine'),
    vanished: (endpoint) =>
      log.info({ address: address(endpoint) }, 'this machine has an address no more: DNS over UDP is not served there'),
    failed: (endpoint, error) =>
      log.warn({ address: address(endpoint), err: error }, 'cannot serve DNS over UDP there yet: trying again every 5 seconds'),
    crowded: (endpoint, left) =>
      log.warn(
        { address: address(endpoint), left },
        `DNS over UDP is served on ${MAX_ADDRESSES} addresses of this machine, and not on the others`,
      ),
  }
}
