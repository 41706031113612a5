import type { Socket } from 'node:net'
import type { Client } from '../dns/contracts.ts'
import type { Failure } from '../dns/failure.ts'
import { type Access, holderOfName, refusalOf } from './access.ts'
import type { Governor } from './governor.ts'
import type { Peer } from './stream-listener.ts'

/** A peer that is about to be served. */
export interface ServedPeer extends Peer {
  readonly holder: Client['holder']
  readonly refusal: Client['refusal']
}

/** `peer` with what TLS, if there is any, has told of it. */
export function servedPeer(socket: Socket, { address, octets, port, holder: certified = null }: Peer, access: Access): ServedPeer {
  const serverName = 'servername' in socket && typeof socket.servername === 'string' ? socket.servername : ''
  const holder = certified ?? holderOfName(serverName, access)
  return { address, octets, port, holder, refusal: refusalOf(octets, holder, access) }
}

/** Counts a connection for its holder too, who may be at many addresses; null: it may. */
export function enterForHolder(socket: Socket, { holder }: ServedPeer, governor: Governor): Failure | null {
  if (holder === null) return null
  const failure = governor.enter(holder.account, AFTER_HANDSHAKE)
  if (failure === null) socket.once('close', () => governor.leave(holder.account))
  return failure
}

const AFTER_HANDSHAKE = { hasHandshake: false }
