import type { LookupAddress } from 'node:dns'
import { lookup } from 'node:dns/promises'
import type { ConnectionOptions } from 'node:tls'
import type { Server } from './query-server.ts'

/** One query on its way to a server. */
export interface Exchange {
  readonly server: Server
  /** Wire format. */
  readonly query: Uint8Array
  /** Ends all waiting; its reason is what the exchange then fails with. */
  readonly signal: AbortSignal
}

/** How to verify the server. */
export type TlsChoice = Pick<ConnectionOptions, 'ca' | 'servername' | 'rejectUnauthorized' | 'checkServerIdentity'>

export interface Settle<T> {
  resolve(value: T): void
  reject(reason: unknown): void
}

/** A promise that `start` settles, unless the signal does before. */
export function untilAborted<T>(signal: AbortSignal, start: (settle: Settle<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    start({ resolve, reject })
  })
}

/** All addresses of the server, in the system's order. */
export function addressesOf({ server, signal }: Exchange): Promise<LookupAddress[]> {
  return untilAborted(signal, ({ resolve, reject }) => {
    lookup(server.host, { all: true }).then(resolve, reject)
  })
}
