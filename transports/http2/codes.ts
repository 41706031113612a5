/** RFC 9113 §6. */
export const FrameType = {
  DATA: 0x0,
  HEADERS: 0x1,
  PRIORITY: 0x2,
  RST_STREAM: 0x3,
  SETTINGS: 0x4,
  PUSH_PROMISE: 0x5,
  PING: 0x6,
  GOAWAY: 0x7,
  WINDOW_UPDATE: 0x8,
  CONTINUATION: 0x9,
} as const

/** RFC 9113 §6; what a bit means depends on the type of the frame. */
export const FrameFlag = {
  ACK: 0x1,
  END_STREAM: 0x1,
  END_HEADERS: 0x4,
  PADDED: 0x8,
  PRIORITY: 0x20,
} as const

/** RFC 9113 §7. */
export const ErrorCode = {
  NO_ERROR: 0x0,
  PROTOCOL_ERROR: 0x1,
  INTERNAL_ERROR: 0x2,
  FLOW_CONTROL_ERROR: 0x3,
  SETTINGS_TIMEOUT: 0x4,
  STREAM_CLOSED: 0x5,
  FRAME_SIZE_ERROR: 0x6,
  REFUSED_STREAM: 0x7,
  CANCEL: 0x8,
  COMPRESSION_ERROR: 0x9,
  ENHANCE_YOUR_CALM: 0xb,
} as const
export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode]

/** RFC 9113 §6.5.2, RFC 8441 §3, RFC 9218 §2.1. */
export const Setting = {
  ENABLE_PUSH: 0x2,
  MAX_CONCURRENT_STREAMS: 0x3,
  INITIAL_WINDOW_SIZE: 0x4,
  MAX_FRAME_SIZE: 0x5,
  MAX_HEADER_LIST_SIZE: 0x6,
  ENABLE_CONNECT_PROTOCOL: 0x8,
  NO_RFC7540_PRIORITIES: 0x9,
} as const

/** RFC 9113 §4.1. */
export const FRAME_HEADER_LENGTH = 9
/** RFC 9113 §6.5.2: the initial SETTINGS_MAX_FRAME_SIZE, which we leave as it is, and the most that a client may set. */
export const MAX_FRAME_SIZE = 16_384
export const LARGEST_MAX_FRAME_SIZE = 16_777_215
/** RFC 9113 §6.9.1, 6.9.2. */
export const MAX_WINDOW = 2_147_483_647
export const DEFAULT_WINDOW = 65_535
/** RFC 9113 §5.1.1, 6.8. */
export const MAX_STREAM = 2_147_483_647
