import { totalmem } from 'node:os'
import { type Knob, knob } from '../../dns/knob.ts'

const MIB = 1_048_576

/** How long a client waits for its answer. Upper bound: stub resolvers have given up long before (glibc 5 s, twice). */
export const QUERY_TIMEOUT_MS: Knob = knob(4_000, 100, 60_000)

/** TLS handshakes, inbound and outbound: one lost packet and its retransmission fit; a peer that stays silent holds nothing for long. */
export const HANDSHAKE_TIMEOUT_MS: Knob = knob(5_000, 500, 60_000)

/** How long a stopping gateway finishes what it has begun. Shorter than the 30 s after which Kubernetes kills; 0 closes at once. */
export const DRAIN_TIMEOUT_MS: Knob = knob(10_000, 0, 3_600_000)

/** Connections of all clients; each costs a descriptor and some 45 kB with TLS. */
export const CONNECTIONS: Knob = knob(20_000, 1, 1_000_000)

/** Connections of one client address over all transports. A household or office behind one IPv4 address fits. */
export const CONNECTIONS_PER_CLIENT: Knob = knob(100, 1, 1_000_000)

/** TLS handshakes of one client: one costs half a millisecond, so that one address takes a fortieth of a core. Behind a carrier's NAT there are thousands of phones; 0: no limit. */
export const HANDSHAKES_PER_SECOND: Knob = knob(50, 0, 1_000_000)

/** Queries of one client that wait for upstreams: a fifth of what a worker can have waiting. */
export const IN_FLIGHT_PER_CLIENT: Knob = knob(4_000, 1, 1_000_000)

/** Unanswered queries of one connection, then we stop reading it. RFC 9113 §6.5.2 advises no less than 100 HTTP/2 streams. */
export const IN_FLIGHT_PER_CONNECTION: Knob = knob(100, 1, 10_000)

/** Queries of one client; a household of browsers asks some ten a second, an office or a carrier's NAT some hundred. 0: no limit. */
export const QUERIES_PER_SECOND: Knob = knob(500, 0, 1_000_000)

/** Answers over UDP to one client without a cookie. RFC 8932 §5 and others advise a limit: it bounds what somebody can have sent to a forged address. */
export const UDP_PER_SECOND: Knob = knob(100, 0, 1_000_000)
/** Every second one, as in BIND and Knot: a client that is there gets through by asking twice. */
export const UDP_SLIP: Knob = knob(2, 0, 100)

/** Worker threads. A browser's or a household's resolver needs one core; more than eight compete for the same upstreams and memory. */
export const WORKERS: Knob = knob(8, 1, 64)

const MACHINE_MEMORY = Math.floor(Math.min(totalmem(), process.constrainedMemory() || Infinity) / MIB) * MIB

const MIN_MEMORY = 128 * MIB

/** Memory of the process, before the kernel ends it: four fifths of what this machine or container has. Node and its workers alone need some 150 MiB. */
export const PROCESS_MEMORY: Knob = knob(
  Math.max(MIN_MEMORY, Math.floor((0.8 * MACHINE_MEMORY) / MIB) * MIB),
  MIN_MEMORY,
  Math.max(MIN_MEMORY, MACHINE_MEMORY),
)

/** Octets of the answers that are kept: room for some 200,000. More than the machine has would only be found out when it fills. */
export const CACHE_MEMORY: Knob = knob(64 * MIB, MIB, MACHINE_MEMORY)

/** How long an answer may be given after its TTL while no upstream answers: RFC 8767 §5 suggests 1 to 3 days, at most 7. */
export const SERVE_STALE_MS: Knob = knob(86_400_000, 0, 604_800_000)

/** Routes: beyond any split horizon; a block list of that size would want another structure. */
export const MAX_ROUTES = 10_000

/** Idle TCP and DoT connections. RFC 7766 §6.2.3 asks for seconds; long enough that the next page load needs no new handshake. */
export const STREAM_IDLE_MS: Knob = knob(30_000, 1_000, 3_600_000)

/** Idle HTTP connections: browsers hold one open to their resolver and pay a handshake when it is gone. */
export const HTTP_IDLE_MS: Knob = knob(60_000, 1_000, 3_600_000)

/** Idle QUIC connections: as most servers have it (conformance P-10); each costs every other one time (docs/quic.md). */
export const QUIC_IDLE_MS: Knob = knob(30_000, 1_000, 600_000)

/** What an upstream may listen on; the default depends on how it is asked. */
export const UPSTREAM_PORT_RANGE: Omit<Knob, 'default'> = Object.freeze({ min: 1, max: 65_535 })

/** Share of the queries that an upstream gets beside others, with `strategy: weighted`. */
export const UPSTREAM_WEIGHT: Knob = knob(1, 1, 1000)

/** Connections of all workers to one upstream, at least one each. RFC 7766 §6.2.2 asks for few; eight workers with two each leave room for bursts. */
export const UPSTREAM_CONNECTIONS: Knob = knob(16, 1, 1000)

/** Questions on their way on one connection before another one is opened: as many as unbound and Knot Resolver take without stopping to read. */
export const UPSTREAM_PIPELINING: Knob = knob(200, 1, 10_000)

/** After this a connection is exchanged for a new one, so that a change of routes or a load balancer's choice does not last for ever. */
export const UPSTREAM_MAX_AGE_MS: Knob = knob(3_600_000, 1_000, 86_400_000)

/** Idle connections to upstreams (RFC 7766 §6.2.3). */
export const UPSTREAM_IDLE_MS: Knob = knob(30_000, 1_000, 3_600_000)

/** Upstreams: a table in memory that all threads share has a row for every way to one. */
export const MAX_UPSTREAMS = 64
/** Octets of an upstream's name: a host name (RFC 1035 §2.3.4) with its port is one. */
export const MAX_UPSTREAM_NAME = 259
/** Ways to one upstream, best first: there are six kinds. */
export const MAX_UPSTREAM_URLS = 6

/** Certificates of files of one gateway: each is looked at every two seconds. */
export const MAX_CERTIFICATE_ENTRIES = 200

/** Certificates by ACME of one gateway, and the names of one: as many as public CAs put into one. */
export const MAX_ACME_ENTRIES = 20
export const MAX_ACME_NAMES = 100

/** How long a record of dns-01 may take from the order to the last of the zone's servers: secondaries poll, and providers have queues. */
export const ACME_DNS_TIMEOUT_MS: Knob = knob(120_000, 1_000, 3_600_000)

/** What may be called the public port; there is no default but the listener's own. */
export const PUBLIC_PORT_RANGE: Omit<Knob, 'default'> = Object.freeze({ min: 1, max: 65_535 })

/** Size of a configuration or `_FILE` file: far above any real one, below what a mistaken path (a disk image) would cost to read. */
export const MAX_FILE_BYTES = 1024 * 1024

/** Depth of the YAML tree; the form needs 5. An alias inside what it names ends here too. */
export const MAX_YAML_DEPTH = 32

/** Nodes of the YAML tree with its aliases written out: room for long address lists, an end to aliases of aliases of aliases. */
export const MAX_YAML_NODES = 100_000

/** Syntax errors reported at once: after the first few, a parser mostly complains about its own recovery. */
export const MAX_SYNTAX_PROBLEMS = 10
