import { randomInt } from 'node:crypto'
import { Flag, flagsOf } from '../../../dns/header.ts'
import { buildQuery } from '../../../dns/query-writer.ts'
import { Class } from '../../../dns/types.ts'
import { type Endpoint, formatEndpoint } from '../../../net/address.ts'

/** Sends one message to one server, and resolves with what answers it: its id, its opcode, its question. Rejects when nothing does. */
export interface DnsClient {
  udp(server: Endpoint, message: Uint8Array, signal: AbortSignal): Promise<Uint8Array>
  tcp(server: Endpoint, message: Uint8Array, signal: AbortSignal): Promise<Uint8Array>
}

/** Somebody to ask. */
export interface Source {
  /** For people. */
  readonly name: string
  ask(message: Uint8Array, signal: AbortSignal): Promise<Uint8Array>
}

/** A datagram may be lost; then whether it is the datagrams. */
const UDP_TRIES_MS = [1000, 2000]
/** Also for an update, which a server may have to write to a disk. */
const TCP_MS = 10_000

export function directly(server: Endpoint, client: DnsClient): Source {
  return { name: formatEndpoint(server), ask: (message, signal) => askDirectly({ server, message, signal }, client) }
}

interface Asked {
  readonly server: Endpoint
  readonly message: Uint8Array
  readonly signal: AbortSignal
}

/** Over UDP; over TCP when the answer is too long for that (RFC 2181 §9), or none comes. */
async function askDirectly({ server, message, signal }: Asked, client: DnsClient): Promise<Uint8Array> {
  for (const ms of UDP_TRIES_MS) {
    const limit = AbortSignal.timeout(ms)
    const answer = await client.udp(server, message, AbortSignal.any([signal, limit])).catch(() => null)
    signal.throwIfAborted()
    if (answer !== null && (flagsOf(answer) & Flag.TC) === 0) return answer
    // refused, or too long: nothing is better the next time
    if (!limit.aborted) break
  }
  return askOverTcp({ server, message, signal }, client)
}

export function askOverTcp({ server, message, signal }: Asked, client: DnsClient): Promise<Uint8Array> {
  return within({ ms: TCP_MS, signal, otherwise: 'no answer' }, (limited) => client.tcp(server, message, limited))
}

interface Limit {
  readonly ms: number
  readonly signal: AbortSignal
  /** What is said when the time is over. */
  readonly otherwise: string
}

export async function within<T>({ ms, signal, otherwise }: Limit, work: (limited: AbortSignal) => Promise<T>): Promise<T> {
  const limit = AbortSignal.timeout(ms)
  try {
    return await work(AbortSignal.any([signal, limit]))
  } catch (error) {
    throw limit.aborted && !signal.aborted ? new Error(`${otherwise} within ${ms / 1000} s`, { cause: error }) : error
  }
}

/** `name` in wire form. Without an OPT record: there are servers that take that for an error, and nothing that is asked here needs one. */
export function queryFor(name: Uint8Array, type: number, { recursionDesired }: { recursionDesired: boolean }): Uint8Array {
  return buildQuery({ id: randomId(), name, type, class: Class.IN, recursionDesired, checkingDisabled: false, edns: null })
}

/** Nobody can guess it (RFC 5452 §9.2). */
export function randomId(): number {
  return randomInt(0x10000)
}
