import { getSystemErrorName } from 'node:util'
import { reasonOf } from '../../dns/operational-error.ts'
import { listenError } from '../listen.ts'
import type {
  QuicClientConnection,
  QuicDialOptions,
  QuicEngine,
  QuicHandler,
  QuicLimits,
  QuicListener,
  QuicListenerOptions,
} from '../quic.ts'
import type { QuicBinding } from './binding.ts'
import { Connection, Endpoint, type EndpointDependencies } from './endpoint.ts'
import type { KeyDirectory } from './key-files.ts'
import { withoutAddressConstraints } from './roots.ts'

/** Fits any path that IPv6 may take (RFC 8200 §5: 1280) without fragments; the library looks for no larger one. */
const MAX_UDP_PAYLOAD = 1232

/** The port on the library. */
export class LibraryEngine implements QuicEngine {
  readonly #binding: QuicBinding
  readonly #keys: KeyDirectory
  readonly #dependencies: EndpointDependencies

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

  async dial(options: QuicDialOptions, handlerOf: (connection: QuicClientConnection) => QuicHandler): Promise<QuicClientConnection> {
    const { endpoint: server, roots } = options
    const endpoint = new Endpoint(() => null, this.#dependencies)
    const settings = {
      ...limitsOf(options.limits),
      alpn: [options.protocol],
      ca: roots === null ? undefined : Buffer.from(withoutAddressConstraints(roots)),
      rejectUnauthorized: roots !== null,
    }
    const peer = { ...server, serverName: options.serverName }
    const native = await this.#keys.use(() => this.#binding.connect(settings, peer, endpoint.onEvents))
    endpoint.attach(native)
    const connection = new Connection(endpoint, CLIENT_HANDLE, {
      address: server.host,
      port: server.port,
      openStream: () => native.openStream(),
    })
    connection.handler = handlerOf(connection)
    endpoint.adopt(connection)
    return connection
  }
}

/** A client has one connection, and the library gives it this number. */
const CLIENT_HANDLE = 0

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
