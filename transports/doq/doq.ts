import { TRANSPORTS, type Transport } from '../../dns/contracts.ts'
import type { Endpoint } from '../../net/address.ts'
import type { ServedConnection } from '../listener.ts'
import { QuicListeners, type QuicSlice, type QuicTransportDependencies, type QuicTransportOptions } from '../quic-listeners.ts'
import { DOQ_CODES, DoqConnection } from './connection.ts'

/** DNS over dedicated QUIC connections (RFC 9250). */
export class DoqTransport implements Transport<QuicSlice> {
  readonly name = 'doq'
  readonly #listeners: QuicListeners

  constructor(options: QuicTransportOptions, dependencies: QuicTransportDependencies) {
    const { acceptor, governor, onTrouble, ...rest } = dependencies
    const facts = { traits: TRANSPORTS.doq, codes: DOQ_CODES, dependencies: rest }
    this.#listeners = new QuicListeners({
      ...options,
      name: this.name,
      protocol: 'doq',
      explainsRefusal: false,
      governor,
      meter: rest.meter,
      onTrouble,
      serve: (quic, arrival, settings) => new DoqConnection({ ...facts, quic, arrival, settings }, acceptor),
    })
  }

  get endpoints(): readonly Endpoint[] {
    return this.#listeners.endpoints
  }

  get connections(): readonly ServedConnection[] {
    return this.#listeners.connections
  }

  async reconfigure(slice: QuicSlice): Promise<void> {
    await this.#listeners.apply(slice)
  }

  async settle(deadlineMs: number): Promise<void> {
    await this.#listeners.settle(deadlineMs)
  }

  async rebind(endpoint: Endpoint): Promise<void> {
    await this.#listeners.rebind(endpoint)
  }

  async drain(deadlineMs: number): Promise<void> {
    await this.#listeners.drain(deadlineMs)
  }

  async close(): Promise<void> {
    await this.#listeners.close()
  }
}
