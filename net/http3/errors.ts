/** HTTP/3 error codes (RFC 9114 §8.1). */
export const H3 = {
  NO_ERROR: 0x100,
  GENERAL_PROTOCOL_ERROR: 0x101,
  INTERNAL_ERROR: 0x102,
  STREAM_CREATION_ERROR: 0x103,
  CLOSED_CRITICAL_STREAM: 0x104,
  FRAME_UNEXPECTED: 0x105,
  FRAME_ERROR: 0x106,
  EXCESSIVE_LOAD: 0x107,
  ID_ERROR: 0x108,
  SETTINGS_ERROR: 0x109,
  MISSING_SETTINGS: 0x10a,
  REQUEST_REJECTED: 0x10b,
  REQUEST_CANCELLED: 0x10c,
  REQUEST_INCOMPLETE: 0x10d,
  MESSAGE_ERROR: 0x10e,
  CONNECT_ERROR: 0x10f,
  VERSION_FALLBACK: 0x110,
} as const

/** QPACK error codes (RFC 9204 §6). */
export const Qpack = {
  DECOMPRESSION_FAILED: 0x200,
  ENCODER_STREAM_ERROR: 0x201,
  DECODER_STREAM_ERROR: 0x202,
} as const

/** What the peer did wrong, and what ends because of it: the connection or only the stream (RFC 9114 §8). */
export interface Http3Error {
  readonly code: number
  readonly scope: 'connection' | 'stream'
}

/** Answered with CONNECTION_CLOSE. */
export function connectionError(code: number): Http3Error {
  return { code, scope: 'connection' }
}

/** Answered with RESET_STREAM and STOP_SENDING, as far as the stream has these directions. */
export function streamError(code: number): Http3Error {
  return { code, scope: 'stream' }
}
