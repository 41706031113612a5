import type { LookupAddress } from 'node:dns'
import { lookup } from 'node:dns/promises'
import type { ConnectionOptions } from 'node:tls'
import type { Endpoint } from '../../net/address.ts'

/** One query on its way to a server. */
export interface Exchange {
  /** A name or an IP address without brackets, and the port. */
  readonly server: Endpoint
  /** Wire format. */
  readonly query: Uint8Array
  /** Ends all waiting; its reason is what the exchange then fails with. */
  readonly signal: AbortSignal
}

/** The server is there, but takes no question from us: an access list or a limit, as far as that can be told from outside. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError'
}

/** Whether `error` says that the other side ended a connection that had come about. */
export function isHangUp(error: unknown): boolean {
  // undici hands over the system's error as it is, or one of its own
  return error instanceof Error && 'code' in error && HANG_UPS.has(String(error.code))
}

const HANG_UPS = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'])

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
