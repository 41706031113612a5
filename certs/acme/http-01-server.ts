import type { IncomingMessage, ServerResponse } from 'node:http'
import { OperationalError } from '../../dns/operational-error.ts'
import type { Endpoint } from '../../net/address.ts'
import { createServer } from '../../net/http.ts'
import { bindServer, closeServer } from '../../net/listen.ts'

/** A CA looks from a few places at once, for as many names as a certificate has. */
const MAX_CONNECTIONS = 256
const MAX_HEADER_OCTETS = 8192

export interface ChallengeServerTimes {
  /** For the whole request, from the connection on. */
  readonly patienceMs: number
  /** How often Node looks for requests that take too long; by default only every 30 s. */
  readonly checkMs: number
}

export const CHALLENGE_SERVER_TIMES: ChallengeServerTimes = { patienceMs: 5000, checkMs: 1000 }

/** RFC 8555 §8.3; the absolute form is for proxies (RFC 9112 §3.2.2). */
const TARGET = /^(?:http:\/\/[^/?#]+)?\/\.well-known\/acme-challenge\/([A-Za-z0-9_-]+)$/

export interface ChallengeServer {
  /** Ends at once. */
  close(): Promise<void>
}

export interface ChallengeServerParts {
  /** Key authorizations by token: those of the moment of a request. */
  readonly answers: ReadonlyMap<string, string>
  readonly times: ChallengeServerTimes
}

/** Answers the questions of http-01 at one address, and nothing else. Rejects with ATLAS_LISTEN. */
export async function openChallengeServer(endpoint: Endpoint, { answers, times }: ChallengeServerParts): Promise<ChallengeServer> {
  const { patienceMs, checkMs } = times
  const server = createServer({
    maxHeaderSize: MAX_HEADER_OCTETS,
    headersTimeout: patienceMs,
    requestTimeout: patienceMs,
    connectionsCheckingInterval: checkMs,
  })
  server.maxConnections = MAX_CONNECTIONS
  server.on('request', (request, response) => answer(request, response, answers))
  await bindServer(server, { name: 'http-01', endpoint }).catch(refuse)
  // out of descriptors: the CA is turned away, and asks again
  server.on('error', () => {})
  return {
    async close() {
      const closed = closeServer(server)
      server.closeAllConnections()
      await closed
    },
  }
}

function answer({ method, url = '' }: IncomingMessage, response: ServerResponse, answers: ReadonlyMap<string, string>): void {
  // the client is gone: its connection ends in any case
  response.on('error', () => {})
  response.shouldKeepAlive = false
  if (method !== 'GET' && method !== 'HEAD') {
    send(response, { status: 405, text: 'method not allowed\n', fields: { allow: 'GET, HEAD' } })
    return
  }
  const [, token = ''] = TARGET.exec(url) ?? []
  const keyAuthorization = answers.get(token)
  // nothing of the request is repeated: it could be a script (conformance ACME-06)
  if (keyAuthorization === undefined) send(response, { status: 404, text: 'not found\n' })
  else send(response, { status: 200, text: keyAuthorization })
}

interface Reply {
  readonly status: number
  readonly text: string
  readonly fields?: Readonly<Record<string, string>>
}

/** Without content for HEAD: Node sees to that. */
function send(response: ServerResponse, { status, text, fields = {} }: Reply): void {
  response.writeHead(status, {
    ...fields,
    'content-type': 'application/octet-stream', // RFC 8555 §8.3
    'content-length': text.length,
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
  })
  response.end(text)
}

function refuse(error: OperationalError): never {
  const remedy = 'tls.acme.http may name other addresses, to which port 80 is forwarded'
  throw new OperationalError(error.code, `${error.message}; ${remedy}`, error.cause)
}
