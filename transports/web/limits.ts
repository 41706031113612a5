/** Requests on their way to the origin, each with at most one window of content and one socket buffer of response: some 50 MiB a worker. */
export const MAX_IN_FLIGHT = 256
/** Half of them: a browser asks for a hundred things at once (RFC 9113 §6.5.2), and the others are still served. */
export const MAX_IN_FLIGHT_PER_CLIENT = 128
/** One for each: who is slow to answer, or asks for a stream of events, keeps nobody else waiting. */
export const MAX_ORIGIN_CONNECTIONS = MAX_IN_FLIGHT
/** Tunnels last, and each has a connection of its own to the origin. */
export const MAX_TUNNELS = 256
export const MAX_TUNNELS_PER_CLIENT = 32

/** Content of a request: an upload, not a disk image. Responses have no limit. */
export const MAX_CONTENT_LENGTH = 64 * 1024 * 1024
/** Header section of a response. */
export const MAX_RESPONSE_HEAD = 16 * 1024
/** How often a request may have passed a gateway of this kind (RFC 9110 §7.6). */
export const MAX_TIMES_SEEN = 4

/** The origin is near, or it is down. */
export const CONNECT_TIMEOUT_MS = 5000
/** Nothing moves in either direction; before the response's head, too: a page may be slow to make. */
export const IDLE_MS = 30_000
/** WebSocket has pings of its own (RFC 6455 §5.5.2), usually once a minute or so. */
export const TUNNEL_IDLE_MS = 600_000
