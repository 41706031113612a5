import { TRANSPORTS } from '../../dns/contracts.ts'
import { QuicListeners, type QuicSlice, type QuicTransportDependencies, type QuicTransportOptions } from '../quic-listeners.ts'
import { QuicTransport } from '../quic-transport.ts'
import { DOQ_CODES, DoqConnection } from './connection.ts'

/** DNS over dedicated QUIC connections (RFC 9250). */
export class DoqTransport extends QuicTransport<QuicSlice> {
  override readonly name = 'doq'
  protected override readonly listeners: QuicListeners

  constructor(options: QuicTransportOptions, dependencies: QuicTransportDependencies) {
    super()
    const { acceptor, governor, onTrouble, ...rest } = dependencies
    const facts = { traits: TRANSPORTS.doq, codes: DOQ_CODES, dependencies: rest }
    this.listeners = new QuicListeners({
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
}
