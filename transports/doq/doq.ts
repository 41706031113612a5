import { TRANSPORTS, type Transport } from '../../dns/contracts.ts'
import type { Endpoint } from '../../net/address.ts'
import type { ListenerSlice } from '../listener.ts'
import { QuicListeners, type QuicTransportDependencies, type QuicTransportOptions } from '../quic-listeners.ts'
import { DOQ_CODES, DoqConnection } from './connection.ts'

interface DoqSlice {
  readonly listen: readonly ListenerSlice[]
}

/** DNS over dedicated QUIC connections (RFC 9250). */
export class DoqTransport implements Transport<DoqSlice> {
  readonly name = 'doq'
  readonly #listeners: QuicListeners

  constructor(options: QuicTransportOptions, dependencies: QuicTransportDependencies) {
    const { acceptor, limit, onTrouble, ...rest } = dependencies
    const facts = { traits: TRANSPORTS.doq, codes: DOQ_CODES, settings: options.settings, dependencies: rest }
    this.#listeners = new QuicListeners({
      ...options,
      name: this.name,
      protocol: 'doq',
      explainsRefusal: false,
      limit,
      meter: rest.meter,
      onTrouble,
      serve: (quic, arrival) => new DoqConnection({ ...facts, quic, arrival }, acceptor),
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
