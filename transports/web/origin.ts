import { isIP } from 'node:net'
import type { Pool } from 'undici'
import { CONNECT_TIMEOUT_MS, MAX_ORIGIN_CONNECTIONS, MAX_RESPONSE_HEAD } from './limits.ts'
import type { Reachability } from './reachability.ts'

/** The connections to the origin; `reachability` hears of each. */
export async function openOrigin(origin: URL, reachability: Reachability): Promise<Pool> {
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
      connect(servername === undefined ? options : { ...options, servername }, (...result) => {
        const [error] = result
        if (error === null) reachability.succeeded()
        else reachability.failed(reasonOf(error))
        callback(...result)
      }),
  })
}

/** Where several addresses were tried, the error has no text of its own. */
function reasonOf(error: NodeJS.ErrnoException): string {
  const [first] = error instanceof AggregateError ? error.errors : [error]
  return first instanceof Error ? first.message : String(error.code)
}
