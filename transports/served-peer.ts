import type { Socket } from 'node:net'
import type { Client } from '../dns/contracts.ts'
import { type Access, holderOfName, refusalOf } from './access.ts'
import type { ConnectionLimit } from './connection-limit.ts'
import type { Peer } from './stream-listener.ts'

/** A peer that is about to be served. */
export interface ServedPeer extends Peer {
  readonly holder: Client['holder']
  readonly refusal: Client['refusal']
}

/** `peer` with what TLS, if there is any, has told of it. */
export function servedPeer(socket: Socket, { address, octets, port }: Peer, access: Access): ServedPeer {
  const serverName = 'servername' in socket && typeof socket.servername === 'string' ? socket.servername : ''
  const holder = holderOfName(serverName, access)
  return { address, octets, port, holder, refusal: refusalOf(octets, holder, access) }
}

/** Counts a connection for its holder too, who may be at many addresses; false when that one has too many. */
export function countForHolder(socket: Socket, { holder }: ServedPeer, limit: ConnectionLimit): boolean {
  if (holder === null) return true
  if (!limit.acquire(holder.account)) return false
  socket.once('close', () => limit.release(holder.account))
  return true
}
