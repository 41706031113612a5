/** So many within so many milliseconds. */
export interface Rate {
  readonly count: number
  readonly withinMs: number
}

/** What one client may do to its connection (RFC 9113 §10.5). */
export interface Http2Limits {
  readonly maxHeaderListSize: number
  readonly maxHeaderBlock: number
  readonly maxContinuations: number
  readonly connectionWindow: number
  readonly maxHeldOutput: number
  readonly maxQueuedAcks: number
  readonly resets: Rate
  readonly maxUnfinished: number
  readonly settings: Rate
  readonly pings: Rate
  readonly emptyFrames: Rate
  readonly idleFrames: Rate
  readonly windowUpdates: Rate
  readonly octetsPerWindowUpdate: number
  readonly handshakeMs: number
  readonly stallMs: number
  readonly drainMs: number
  readonly maxStreams: number
  readonly maxAgeMs: number
}

export const HTTP2_LIMITS: Http2Limits = Object.freeze({
  /** RFC 9113 §10.5.1, names and values and 32 for each field; more is 431. The longest DNS message that fits a GET has some 12,000 octets. */
  maxHeaderListSize: 16_384,
  /** Octets of one field block as it arrives (VU#421644): twice the list that it may decode to. */
  maxHeaderBlock: 32_768,
  /** CONTINUATION frames of one block: two hold the largest block; more and smaller ones are an attack. */
  maxContinuations: 8,
  /** Octets of content that may be under way on all streams: four of the largest DNS messages. It bounds what is held of incomplete requests. */
  connectionWindow: 262_144,
  /** Octets of responses that wait for the client's windows (CVE-2019-9511, 9517); beyond, new requests are refused. */
  maxHeldOutput: 1_048_576,
  /** Acknowledgements of SETTINGS and PING in the output of one turn (CVE-2019-9512, 9515). */
  maxQueuedAcks: 10,
  /** Streams that the client resets (CVE-2023-44487) or makes us reset (CVE-2025-8671). Browsers reset a few when a page is left. */
  resets: { count: 100, withinMs: 1000 },
  /** The same, over the life of the connection: besides two for every request that was completed. */
  maxUnfinished: 200,
  /** A client changes its settings once or twice. */
  settings: { count: 100, withinMs: 10_000 },
  /** Clients measure the round-trip time with them, gRPC with every few frames of data. */
  pings: { count: 100, withinMs: 10_000 },
  /** DATA without content that ends nothing (CVE-2019-9518). */
  emptyFrames: { count: 100, withinMs: 10_000 },
  /** PRIORITY and frames of unknown types, which have no effect (CVE-2019-9513). */
  idleFrames: { count: 100, withinMs: 1000 },
  /** WINDOW_UPDATE frames besides those that the data sent explains (CVE-2019-9511). */
  windowUpdates: { count: 1000, withinMs: 10_000 },
  /** Octets of DATA for which a WINDOW_UPDATE is explained; besides, two for each response. */
  octetsPerWindowUpdate: 1024,
  /** For the client's preface, its acknowledgement of our SETTINGS, and the rest of a field block. */
  handshakeMs: 10_000,
  /** How long a client may take no octet of what waits for it. */
  stallMs: 30_000,
  /** RFC 9113 §6.8: a round trip, between the first GOAWAY and the one that says which streams were accepted. */
  drainMs: 1000,
  /** Requests of one connection, and its age: then it is drained, so that clients spread anew. */
  maxStreams: 1_000_000,
  maxAgeMs: 3_600_000,
})
