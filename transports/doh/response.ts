import { Failure } from '../../dns/failure.ts'
import { resolveJson } from '../../dns/resolve-json.ts'
import { STATUS_CODES } from '../../net/http.ts'
import { ALLOW, MEDIA_TYPE } from './request.ts'

/** A response without its content's octets, in the same form for every HTTP version. */
export interface ResponseHead {
  readonly status: number
  readonly headers: Readonly<Record<string, string | number>>
}

export interface PlainResponse extends ResponseHead {
  readonly body: string
}

/** Seconds after which a client that was turned away for load may come back. */
const RETRY_AFTER_SECONDS = 2

/**
 * The head of a DNS answer, whatever its RCODE (RFC 8484 §4.2.1). `freshness`: seconds (§5.1); 0 is never stored. No Age:
 * the TTLs are aged already.
 */
export function answerHead(length: number, freshness: number): ResponseHead {
  return {
    status: 200,
    headers: {
      'content-type': MEDIA_TYPE,
      'content-length': length,
      'cache-control': freshness > 0 ? `max-age=${freshness}` : 'no-store',
    },
  }
}

/** RFC 9110 §9.3.7. */
export function optionsResponse(allow: string): PlainResponse {
  return { status: 204, headers: { allow }, body: '' }
}

/** The JSON form of a DNS answer, with the freshness that answerHead() says. */
export function jsonResponse(message: Uint8Array, freshness: number): PlainResponse {
  const body = `${JSON.stringify(resolveJson(message))}\n`
  // a registered type (RFC 8259), which browsers show; clients of this form look at nothing else
  const head = answerHead(Buffer.byteLength(body), freshness)
  return { ...head, headers: { ...head.headers, 'content-type': 'application/json' }, body }
}

/** The response to a request that gets no DNS answer: a status and a line of text, never a DNS message (conformance DOH-07). */
export function failureResponse(failure: Failure, allow: string = ALLOW): PlainResponse {
  const body = `${failure.http} ${STATUS_CODES[failure.http] ?? 'Error'}: ${EXPLANATIONS[failure.code] ?? failure.code.replaceAll('_', ' ')}\n`
  return {
    status: failure.http,
    headers: {
      'content-type': 'text/plain; charset=utf-8',
      'content-length': Buffer.byteLength(body),
      'cache-control': 'no-store',
      ...extraHeaders(failure, allow),
    },
    body,
  }
}

const EXPLANATIONS: Readonly<Record<string, string>> = {
  message_too_short: 'a DNS message has at least 12 octets',
  not_a_query: 'the DNS message is a response',
  http_bad_request: 'expected the parameter "dns" once, base64url without padding (RFC 8484)',
  http_path: 'there is no DNS service at this path',
  http_parameters: 'expected name=<domain name>, and if need be type=<name or number>, do=1 and cd=1, each once',
  http_method: 'expected one of the methods of the field Allow',
  http_unknown_method: 'expected GET, HEAD, POST or OPTIONS',
  http_media_type: `expected content-type ${MEDIA_TYPE}`,
  http_content_coding: 'expected no content-encoding',
  http_not_acceptable: `only ${MEDIA_TYPE} is served`,
  http_body_timeout: 'the request did not arrive in time',
  access_denied: 'this address may not ask here',
  token_required: 'whoever asks here needs a token, as the last segment of the path or the first label of the host name',
  rate_limited: 'too many queries',
  http_authority: 'this server does not answer for this host name',
  http_body_too_large: 'a DNS message has at most 65535 octets',
  http_header_too_large: 'the header section has more than 16384 octets; use POST for long messages',
}

function extraHeaders(failure: Failure, allow: string): Record<string, string | number> {
  if (failure === Failure.http_method) return { allow }
  if (failure === Failure.http_media_type) return { accept: MEDIA_TYPE }
  if (failure === Failure.http_content_coding) return { 'accept-encoding': 'identity' }
  return failure.http === 503 || failure.http === 429 ? { 'retry-after': RETRY_AFTER_SECONDS } : {}
}
