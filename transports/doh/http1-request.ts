import type { IncomingMessage } from 'node:http'
import { Failure } from '../../dns/failure.ts'
import { contentLengthOf, NO_CONTENT_LENGTH } from '../../net/fields.ts'
import { METHODS } from '../../net/http.ts'
import { hasContent } from '../web/http1-head.ts'
import { expectsContinue as isContinue } from './fields.ts'
import type { RequestHead } from './request.ts'

/** RFC 6455 §4.1, RFC 9110 §7.8; what has content first would have to be read to its end. */
export function isWebSocket(request: IncomingMessage): boolean {
  return request.httpVersionMinor > 0 && request.headers.upgrade?.toLowerCase() === 'websocket' && !hasContent(request)
}

/** Whether nothing can be read behind a request. */
export function isLast({ httpVersionMinor, headers }: IncomingMessage): boolean {
  // RFC 9112 §6.1: where it ends is not sure
  if (httpVersionMinor === 0 && headers['transfer-encoding'] !== undefined) return true
  // Node's parser drops what comes in one piece with an upgrade that is declined
  return headers.upgrade !== undefined
}

/** RFC 9110 §10.1.1. */
export function expectsContinue({ httpVersionMinor, headers }: IncomingMessage): boolean {
  return httpVersionMinor > 0 && isContinue(headers.expect ?? '')
}

export function headOf(request: IncomingMessage): RequestHead {
  const { headers } = request
  return {
    method: request.method ?? '',
    target: request.url ?? '',
    authority: headers.host ?? '',
    contentType: headers['content-type'] ?? '',
    contentEncoding: headers['content-encoding'] ?? '',
    contentLength: contentLengthOf(headers['content-length'] ?? null) ?? NO_CONTENT_LENGTH,
    accept: headers.accept ?? '',
    forwardedFor: textOf(headers['x-forwarded-for']),
    forwarded: headers.forwarded ?? '',
    earlyData: textOf(headers['early-data']),
    protocol: '',
  }
}

/** Node joins most fields that come several times. */
function textOf(value: string | string[] | undefined): string {
  return Array.isArray(value) ? value.join(', ') : (value ?? '')
}

export function countOf(rawHeaders: readonly string[], name: string): number {
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i]?.toLowerCase() === name) count++
  return count
}

/** RFC 9110 §9.1: a method name is any token; one that Node does not know is a parse error for it, and 501 for us. */
export function parseFailure(error: NodeJS.ErrnoException & { rawPacket?: Buffer }): Failure {
  if (error.code === 'HPE_HEADER_OVERFLOW') return Failure.http_header_too_large
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return Failure.http_body_timeout
  const method = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) [^ ]+ HTTP\/1\.[01]\r\n/.exec(error.rawPacket?.toString('latin1', 0, 2048) ?? '')?.[1]
  return error.code === 'HPE_INVALID_METHOD' && method !== undefined && !METHODS.includes(method)
    ? Failure.http_unknown_method
    : Failure.http_bad_request
}
