import { getSystemErrorName } from 'node:util'
import { reasonOf } from '../../dns/operational-error.ts'
import { listenError } from '../listen.ts'
import type {
  QuicClientConnection,
  QuicClientHandler,
  QuicDialOptions,
  QuicEngine,
  QuicLimits,
  QuicListener,
  QuicListenerOptions,
} from '../quic.ts'
import type { QuicBinding } from './binding.ts'
import { ClientConnection } from './client-connection.ts'
import { Endpoint, type EndpointDependencies } from './endpoint.ts'
import type { KeyDirectory } from './key-files.ts'
import { withoutAddressConstraints } from './roots.ts'

/** Fits any path that IPv6 may take (RFC 8200 §5: 1280) without fragments; the library looks for no larger one. */
const MAX_UDP_PAYLOAD = 1232

/** Sets of roots that are kept ready: parsing the usual ones takes longer than a handshake. More would mean that they change all the time. */
const MAX_ROOTS = 16

/** The port on the library. */
export class LibraryEngine implements QuicEngine {
  readonly #binding: QuicBinding
  readonly #keys: KeyDirectory
  readonly #dependencies: EndpointDependencies
  readonly #roots = new Map<string, Buffer>()

  constructor(binding: QuicBinding, keys: KeyDirectory, dependencies: EndpointDependencies) {
    this.#binding = binding
    this.#keys = keys
    this.#dependencies = dependencies
  }

  get opensUnidirectional(): boolean {
    return this.#binding.opensUnidirectional
  }

  async listen(options: QuicListenerOptions): Promise<QuicListener> {
    const { endpoint: address, identity, acceptor } = options
    const endpoint = new Endpoint((connection) => acceptor.arrived(connection), this.#dependencies)
    try {
      const settings = {
        ...limitsOf(options.limits),
        alpn: [options.protocol],
        key: Buffer.from(identity.keyPem),
        cert: Buffer.from(identity.chainPem),
        maxConnections: options.connections,
        disableRetry: true,
        disableActiveMigration: true,
      }
      const { native, port } = await this.#keys.use(() => this.#binding.listen(settings, address, endpoint.onEvents))
      endpoint.attach(native)
      return { endpoint: { host: address.host, port }, close: () => endpoint.close() }
    } catch (error) {
      throw listenError(options.name, address, withCode(error))
    }
  }

  async dial(options: QuicDialOptions, handlerOf: (connection: QuicClientConnection) => QuicClientHandler): Promise<QuicClientConnection> {
    const { endpoint: server, roots, ticket } = options
    const endpoint = new Endpoint(() => null, this.#dependencies)
    const settings = {
      ...limitsOf(options.limits),
      alpn: [options.protocol],
      ca: roots === null ? undefined : this.#prepared(roots),
      rejectUnauthorized: roots !== null,
      sessionTicket: ticket === undefined ? undefined : Buffer.from(ticket),
    }
    const peer = { ...server, serverName: options.serverName }
    const native = await this.#keys.use(() => this.#binding.connect(settings, peer, endpoint.onEvents))
    endpoint.attach(native)
    const connection = new ClientConnection(endpoint, native, { address: server.host, port: server.port })
    connection.handler = handlerOf(connection)
    endpoint.adopt(connection)
    return connection
  }

  #prepared(roots: string): Buffer {
    const known = this.#roots.get(roots)
    if (known !== undefined) return known
    if (this.#roots.size >= MAX_ROOTS) this.#roots.clear()
    const prepared = Buffer.from(withoutAddressConstraints(roots))
    this.#roots.set(roots, prepared)
    return prepared
  }
}

function limitsOf(limits: QuicLimits) {
  return {
    maxIdleTimeoutMs: limits.idleMs,
    maxUdpPayloadSize: MAX_UDP_PAYLOAD,
    initialMaxData: limits.window,
    initialMaxStreamDataBidiLocal: limits.window,
    initialMaxStreamsBidi: limits.streams,
  }
}

/** The library gives the system's error in words: "[h3:io|errno=98] IO error: Address already in use (os error 98)". */
function withCode(error: unknown): unknown {
  if (error instanceof Error && 'errno' in error) return error
  const text = reasonOf(error).replace(/^\[h3:[^\]]*\] /, '')
  const [, errno] = /\(os error (\d+)\)/.exec(text) ?? []
  return Object.assign(new Error(text, { cause: error }), errno === undefined ? {} : { code: getSystemErrorName(-Number(errno)) })
}
