import type { Transport } from '../dns/contracts.ts'
import type { Endpoint } from '../net/address.ts'
import type { ServedConnection } from './listener.ts'
import type { QuicListeners, QuicSlice } from './quic-listeners.ts'

/** What DoQ and HTTP/3 are to the gateway: a name, and listeners whose life is theirs. */
export abstract class QuicTransport<Slice extends QuicSlice> implements Transport<Slice> {
  abstract readonly name: string
  protected abstract readonly listeners: QuicListeners

  get endpoints(): readonly Endpoint[] {
    return this.listeners.endpoints
  }

  get connections(): readonly ServedConnection[] {
    return this.listeners.connections
  }

  async reconfigure(slice: Slice): Promise<void> {
    await this.listeners.apply(slice)
  }

  async settle(deadlineMs: number): Promise<void> {
    await this.listeners.settle(deadlineMs)
  }

  async rebind(endpoint: Endpoint): Promise<void> {
    await this.listeners.rebind(endpoint)
  }

  async drain(deadlineMs: number): Promise<void> {
    await this.listeners.drain(deadlineMs)
  }

  async close(): Promise<void> {
    await this.listeners.close()
  }
}
