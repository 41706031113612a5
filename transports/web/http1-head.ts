import type { IncomingMessage } from 'node:http'
import type { Field } from '../../net/fields.ts'
import type { WebPlace, WebRequest } from './exchange.ts'

export function requestOf(message: IncomingMessage, { client, authority, target }: WebPlace, protocol: string | null): WebRequest {
  return {
    client,
    authority,
    target,
    method: message.method ?? '',
    fields: linesOf(message.rawHeaders),
    version: '1.1',
    protocol,
    hasContent: protocol === null && hasContent(message),
  }
}

/** RFC 9112 §6.3. */
export function hasContent({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/** Node's names and values in turn, as field lines. */
export function linesOf(raw: readonly string[]): Field[] {
  const fields: Field[] = []
  for (let i = 0; i + 1 < raw.length; i += 2) fields.push([raw[i]?.toLowerCase() ?? '', raw[i + 1] ?? ''])
  return fields
}
