import { Failure, type FailureCode } from '../../dns/failure.ts'
import { date } from '../../net/http-date.ts'
import type { WebExchange } from './exchange.ts'

/** What the client is told of each failure of a request for a page; its status stands in the table of failures. */
const TEXTS = {
  proxy_bad_request: 'The request is malformed.',
  proxy_request_timeout: 'The content of the request did not arrive in time.',
  proxy_too_large: 'The content of the request is too large.',
  proxy_expectation: 'The only expectation that can be met is 100-continue.',
  proxy_not_implemented: 'This method or protocol is not forwarded.',
  proxy_unreachable: 'The server behind this gateway cannot be reached.',
  proxy_bad_response: 'The server behind this gateway sent a response that cannot be forwarded.',
  proxy_busy: 'Too many requests are on their way to the server behind this gateway.',
  proxy_timeout: 'The server behind this gateway did not answer in time.',
  proxy_loop: 'The request has been here before.',
  /** The response had begun: there is nothing left to tell. */
  proxy_cut_off: '',
} satisfies Partial<Record<FailureCode, string>>

export type ProxyFailure = keyof typeof TEXTS

/** RFC 9110 §10.2.3, in seconds: places become free as soon as responses end. */
const RETRY_AFTER = '1'

/** Answers with a failure instead of a page. */
export function refuse(exchange: WebExchange, failure: ProxyFailure): void {
  const status = Failure[failure].http
  const content = Buffer.from(`${TEXTS[failure]}\n`)
  const isHead = exchange.request.method === 'HEAD'
  const fields: [string, string][] = [
    ['date', date()],
    ['content-type', 'text/plain; charset=utf-8'],
    ['content-length', String(content.length)],
    ['cache-control', 'no-store'],
  ]
  if (status === 503) fields.push(['retry-after', RETRY_AFTER])
  exchange.respond(status, fields, isHead)
  if (isHead) return
  exchange.write(content)
  exchange.end([])
}

/** What it means that the origin cannot be asked, or its answer not be read. */
export function failureOf(error: NodeJS.ErrnoException): ProxyFailure {
  // its codes are sometimes missing
  if (error.name === 'HTTPParserError') return 'proxy_bad_response'
  switch (error.code) {
    case 'UND_ERR_CONNECT_TIMEOUT':
    case 'ETIMEDOUT':
      return 'proxy_timeout'
    // undici looks at fields and target more closely than HTTP/2 has to
    case 'UND_ERR_INVALID_ARG':
    case 'UND_ERR_NOT_SUPPORTED':
      return 'proxy_bad_request'
    case 'UND_ERR_HEADERS_OVERFLOW':
    case 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH':
      return 'proxy_bad_response'
    case 'UND_ERR_DESTROYED':
      return 'proxy_busy'
    default:
      return 'proxy_unreachable'
  }
}
