import { type QueryAcceptor, TRANSPORTS, type Transport } from '../../dns/contracts.ts'
import type { Endpoint } from '../../net/address.ts'
import type { QuicEngine } from '../../net/quic.ts'
import type { ServerIdentities } from '../../net/tls.ts'
import type { ConnectionLimit } from '../connection-limit.ts'
import type { ListenerSlice } from '../listener.ts'
import type { QuicConnectionDependencies, QuicConnectionSettings } from '../quic-connection.ts'
import { QuicListeners } from '../quic-listeners.ts'
import { DOQ_CODES, DoqConnection } from './connection.ts'

export interface DoqSlice {
  readonly listen: readonly ListenerSlice[]
}

export interface DoqOptions {
  readonly engine: QuicEngine
  readonly identities: ServerIdentities
  readonly settings: QuicConnectionSettings
}

export interface DoqDependencies extends QuicConnectionDependencies {
  readonly acceptor: QueryAcceptor
  readonly limit: ConnectionLimit
}

/** DNS over dedicated QUIC connections (RFC 9250). */
export class DoqTransport implements Transport<DoqSlice> {
  readonly name = 'doq'
  readonly #listeners: QuicListeners

  constructor(options: DoqOptions, dependencies: DoqDependencies) {
    const { acceptor, limit, ...rest } = dependencies
    const facts = { traits: TRANSPORTS.doq, codes: DOQ_CODES, settings: options.settings, dependencies: rest }
    this.#listeners = new QuicListeners({
      ...options,
      name: this.name,
      protocol: 'doq',
      explainsRefusal: false,
      limit,
      meter: rest.meter,
      serve: (quic, peer, onClosed) => new DoqConnection({ ...facts, quic, peer, onClosed }, acceptor),
    })
  }

  get endpoints(): readonly Endpoint[] {
    return this.#listeners.endpoints
  }

  async reconfigure(slice: DoqSlice): Promise<void> {
    await this.#listeners.apply(slice.listen)
  }

  async drain(deadlineMs: number): Promise<void> {
    await this.#listeners.drain(deadlineMs)
  }

  async close(): Promise<void> {
    await this.#listeners.close()
  }
}
