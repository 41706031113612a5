import { Ede, Rcode } from './types.ts'

/**
 * Every way in which a query can fail: a value, never an exception. A failure *is* its row of this table, so nothing
 * ever translates a code: the pipeline reads `rcode` and `ede`, DoH `http`, DoQ `doq`, the counters `code`.
 */
export interface Failure {
  /** Stable name, the `reason` label of atlas_drops_total. */
  readonly code: FailureCode
  /** Position in the table, for counters. */
  readonly index: number
  /** RCODE of the answer (extended RCODEs included); NO_ANSWER where no DNS message answers this. */
  readonly rcode: number
  /** RFC 8914 INFO-CODE, NO_EDE for none. */
  readonly ede: number
  /** RFC 8914 EXTRA-TEXT as UTF-8, empty for none. Said to clients: it names no server and nothing that a peer chose. */
  readonly edeText: Uint8Array
  /** HTTP status where DoH cannot or must not answer with a DNS message; 200 otherwise. */
  readonly http: number
  /** RFC 9250 §4.3 error code where DoQ cannot answer with a DNS message; 0 otherwise. */
  readonly doq: number
}

export const NO_ANSWER = -1
export const NO_EDE = -1

export const DOQ_NO_ERROR = 0x0
export const DOQ_PROTOCOL_ERROR = 0x2
export const DOQ_REQUEST_CANCELLED = 0x3
export const DOQ_EXCESSIVE_LOAD = 0x4
const DOQ_UNSPECIFIED_ERROR = 0x5

const NO_TEXT = new Uint8Array(0)

const answered = (rcode: number, ede: number = NO_EDE) => ({ rcode, ede, edeText: NO_TEXT, http: 200, doq: 0 })
const unanswered = (http: number, doq: number = DOQ_UNSPECIFIED_ERROR) => ({ rcode: NO_ANSWER, ede: NO_EDE, edeText: NO_TEXT, http, doq })

const ROWS = {
  // the client's message (conformance P-1: too broken to answer, or answered with an error)
  message_too_short: unanswered(400, DOQ_PROTOCOL_ERROR),
  not_a_query: unanswered(400, DOQ_PROTOCOL_ERROR),
  malformed_message: answered(Rcode.FORMERR),
  bad_version: answered(Rcode.BADVERS),
  bad_cookie: answered(Rcode.BADCOOKIE),
  opcode_not_implemented: answered(Rcode.NOTIMP),
  type_invalid: answered(Rcode.FORMERR, Ede.INVALID_QUERY_TYPE),
  type_not_implemented: answered(Rcode.NOTIMP, Ede.INVALID_QUERY_TYPE),
  transfer_refused: answered(Rcode.REFUSED, Ede.NOT_SUPPORTED),
  class_refused: answered(Rcode.REFUSED, Ede.NOT_SUPPORTED),
  signature_refused: answered(Rcode.REFUSED, Ede.NOT_SUPPORTED),
  recursion_not_desired: answered(Rcode.REFUSED, Ede.NOT_AUTHORITATIVE),
  not_authoritative: answered(Rcode.REFUSED, Ede.NOT_AUTHORITATIVE),
  access_denied: unanswered(403),
  token_required: unanswered(403),
  rate_limited: unanswered(429, DOQ_EXCESSIVE_LOAD),
  in_flight_limit: answered(Rcode.REFUSED, Ede.OTHER),
  rate_refused: { ...answered(Rcode.REFUSED, Ede.OTHER), edeText: new TextEncoder().encode('too many queries') },

  // the client's connection
  reflection_port: unanswered(400),
  frame_too_short: unanswered(400, DOQ_PROTOCOL_ERROR),
  query_timeout: unanswered(408),
  too_many_malformed: unanswered(400, DOQ_PROTOCOL_ERROR),
  connection_limit: unanswered(503, DOQ_EXCESSIVE_LOAD),
  connection_ceiling: unanswered(503, DOQ_EXCESSIVE_LOAD),
  handshake_limit: unanswered(503, DOQ_EXCESSIVE_LOAD),
  overload_refused: unanswered(503, DOQ_EXCESSIVE_LOAD),
  overload_shed: unanswered(503, DOQ_EXCESSIVE_LOAD),
  buffer_limit: unanswered(503, DOQ_EXCESSIVE_LOAD),
  slow_reader: unanswered(408),
  handshake_failed: unanswered(400),
  cancel_flood: unanswered(400, DOQ_EXCESSIVE_LOAD),
  input_flood: unanswered(400, DOQ_EXCESSIVE_LOAD),

  // what a load balancer says in front of a connection or in a datagram
  proxy_protocol_error: unanswered(400),
  proxy_protocol_untrusted: unanswered(403),
  proxy_protocol_timeout: unanswered(408),

  // the client's QUIC connection (RFC 9250 §4.3.3)
  doq_framing: unanswered(400, DOQ_PROTOCOL_ERROR),
  doq_message_id: unanswered(400, DOQ_PROTOCOL_ERROR),
  doq_keepalive: unanswered(400, DOQ_PROTOCOL_ERROR),
  doq_unfinished_streams: unanswered(400, DOQ_EXCESSIVE_LOAD),
  http3_error: unanswered(400),

  // the client's HTTP/2 connection (RFC 9113 §10.5)
  http2_error: unanswered(400),
  http2_own_resets: unanswered(400),
  http2_continuation_flood: unanswered(400),
  http2_settings_flood: unanswered(400),
  http2_ping_flood: unanswered(400),
  http2_window_flood: unanswered(400),
  http2_empty_frames: unanswered(400),
  http2_idle_frames: unanswered(400),
  http2_settings_timeout: unanswered(400),
  http2_too_many_streams: unanswered(503),
  output_limit: unanswered(503),

  // the client's HTTP request (conformance §14.1)
  http_bad_request: unanswered(400),
  http_parameters: unanswered(400),
  http_path: unanswered(404),
  http_method: unanswered(405),
  http_not_acceptable: unanswered(406),
  http_body_timeout: unanswered(408),
  http_body_too_large: unanswered(413),
  http_uri_too_long: unanswered(414),
  http_media_type: unanswered(415),
  http_content_coding: unanswered(415),
  http_authority: unanswered(421),
  http_too_early: unanswered(425),
  http_header_too_large: unanswered(431),
  http_unknown_method: unanswered(501),

  // a request for a page, which goes to doh.proxy
  proxy_bad_request: unanswered(400),
  proxy_request_timeout: unanswered(408),
  proxy_too_large: unanswered(413),
  proxy_expectation: unanswered(417),
  proxy_not_implemented: unanswered(501),
  proxy_unreachable: unanswered(502),
  proxy_bad_response: unanswered(502),
  proxy_busy: unanswered(503),
  proxy_timeout: unanswered(504),
  proxy_loop: unanswered(508),
  proxy_cut_off: unanswered(502),

  // the upstream
  upstream_none: answered(Rcode.SERVFAIL, Ede.NO_REACHABLE_AUTHORITY),
  upstream_timeout: answered(Rcode.SERVFAIL, Ede.NO_REACHABLE_AUTHORITY),
  upstream_network: answered(Rcode.SERVFAIL, Ede.NETWORK_ERROR),
  upstream_certificate: {
    ...answered(Rcode.SERVFAIL, Ede.NETWORK_ERROR),
    edeText: new TextEncoder().encode('the certificate of the upstream server is not accepted'),
  },
  upstream_malformed: answered(Rcode.SERVFAIL, Ede.NETWORK_ERROR),
  upstream_subnet_mismatch: answered(Rcode.SERVFAIL, Ede.NETWORK_ERROR),
  upstream_subnet_refused: answered(Rcode.SERVFAIL, Ede.NO_REACHABLE_AUTHORITY),
  upstream_truncated: answered(Rcode.SERVFAIL, Ede.NETWORK_ERROR),
  upstream_failed: answered(Rcode.SERVFAIL, Ede.NO_REACHABLE_AUTHORITY),
  upstream_loop: { ...answered(Rcode.SERVFAIL, Ede.OTHER), edeText: new TextEncoder().encode('the upstream server leads back here') },
  upstream_alias_loop: answered(Rcode.SERVFAIL, Ede.OTHER),

  // ourselves
  overloaded: answered(Rcode.SERVFAIL, Ede.OTHER),
} as const

export type FailureCode = keyof typeof ROWS

export const FAILURES: readonly Failure[] = Object.freeze(
  Object.entries(ROWS).map(([code, row], index) => Object.freeze({ code: code as FailureCode, index, ...row })),
)

/** The table by name: `Failure.malformed_message`. */
export const Failure = Object.freeze(Object.fromEntries(FAILURES.map((row) => [row.code, row]))) as Readonly<Record<FailureCode, Failure>>
