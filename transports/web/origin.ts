import { isIP } from 'node:net'
import type { Pool } from 'undici'
import { CONNECT_TIMEOUT_MS, MAX_ORIGIN_CONNECTIONS, MAX_RESPONSE_HEAD } from './limits.ts'

/** The connections to the origin. */
export async function openOrigin(origin: URL): Promise<Pool> {
  const undici = await import('undici')
  const hostname = origin.hostname.replace(/^\[(.*)\]$/, '$1')
  // allowHalfOpen: in a tunnel each side ends by itself
  const connect = undici.buildConnector({ allowH2: false, timeout: CONNECT_TIMEOUT_MS, allowHalfOpen: true })
  // RFC 6066 §3: undici would take the name from Host, which is what the client wrote
  const servername = isIP(hostname) === 0 ? hostname : undefined
  return new undici.Pool(origin.origin, {
    allowH2: false,
    connections: MAX_ORIGIN_CONNECTIONS,
    maxHeaderSize: MAX_RESPONSE_HEAD,
    connect: ({ servername: _fromHost, ...options }, callback) =>
      connect(servername === undefined ? options : { ...options, servername }, callback),
  })
}
