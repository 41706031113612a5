import type { IncomingMessage } from 'node:http'
import type { Client } from '../../dns/contracts.ts'
import type { Field } from '../../net/fields.ts'
import type { WebRequest } from './exchange.ts'

/** What who serves the connection has found out already. */
export interface Http1Place {
  readonly client: Client
  readonly authority: string
  /** Without scheme and authority (RFC 9112 §3.2.2). */
  readonly target: string
}

export function requestOf(message: IncomingMessage, place: Http1Place, protocol: string | null): WebRequest {
  const { headers } = message
  return {
    ...place,
    method: message.method ?? '',
    fields: linesOf(message.rawHeaders),
    version: '1.1',
    protocol,
    // RFC 9112 §6.3
    hasContent: protocol === null && (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0),
  }
}

/** Node's names and values in turn, as field lines. */
export function linesOf(raw: readonly string[]): Field[] {
  const fields: Field[] = []
  for (let i = 0; i + 1 < raw.length; i += 2) fields.push([raw[i]?.toLowerCase() ?? '', raw[i + 1] ?? ''])
  return fields
}
