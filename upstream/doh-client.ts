import type { Socket } from 'node:net'
import type { buildConnector, Client } from 'undici'
import { MAX_MESSAGE_LENGTH } from '../dns/header.ts'
import { QUERY_BLOCK, writeQuestion } from '../dns/question.ts'
import { DNS_MESSAGE } from '../net/doh-post.ts'
import { scratch } from '../net/scratch.ts'
import type { Exchange } from './doh-exchange.ts'

/** RFC 9113 §3.2. */
export const H2_PROTOCOL = 'h2'
/** RFC 8484 §4.1: id 0, so that caches in between see one request; RFC 7828 §3.1: keepalive is for other transports. */
const QUESTION = Object.freeze({ id: 0, keepalive: false, padding: QUERY_BLOCK })
/** RFC 9110 §12.5.3: without the last one a server could compress. RFC 8484 §8.2: nothing by which a client is told from another. */
const FIELDS = ['accept', DNS_MESSAGE, 'accept-encoding', 'identity']

/** What a server may have on its way to us: sixteen of the longest answers. What has come is taken at once. */
const CONNECTION_WINDOW = 16 * MAX_MESSAGE_LENGTH
/** The longest that a timer of Node has: the wheel decides when a connection is idle. */
const NEVER_MS = 2 ** 31 - 1

const RETIRED = new Error(
  'Cannot ask over another connection: expected: a client with an open one: received: one whose connection has ended.',
)

export interface ClientEvents {
  /** The server has streams again. */
  onDrain(): void
  /** The server has said GOAWAY, or the connection has broken. */
  onDisconnect(): void
  /** The last `count` requests that it got are not on the connection, and would be asked over another one; true: they are aborted by the next turn. */
  onOrphaned(count: number): boolean
}

/** A client of undici for one HTTP/2 connection, which is there already: it opens no other. `streams`: requests at a time, at most. */
export function openClient(
  Constructor: typeof Client,
  { url, socket, streams }: { url: URL; socket: Socket; streams: number },
  events: ClientEvents,
): Client {
  let isHandedOver = false
  const connect: buildConnector.connector = (_options, callback) => {
    if (!isHandedOver) {
      isHandedOver = true
      // undici goes on with a request only if it had to wait
      process.nextTick(callback, null, socket)
    } else if (events.onOrphaned(client.stats.pending)) {
      // once they are aborted, or undici would connect again for them, and again
      setImmediate(callback, RETIRED, null)
    }
  }
  const client = new Constructor(url.origin, {
    connect,
    allowH2: true,
    // of HTTP/1.1, and yet: with fewer it would not ask for another connection, and so not say who needs one, while answers are open
    pipelining: streams,
    // exchanges have their deadlines on the wheel
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: NEVER_MS,
    // RFC 9113 §6.5.2: one answer of any length; undici does not look for it among h2Options
    initialWindowSize: MAX_MESSAGE_LENGTH,
    h2Options: { maxConcurrentStreams: streams, connectionWindowSize: CONNECTION_WINDOW, pingInterval: 0 },
  })
  client.on('drain', events.onDrain)
  client.on('disconnect', events.onDisconnect)
  return client
}

/** Where questions are asked: what stands before one in the path (RFC 8484 §4.1: the variable "dns" of the template). */
export function pathBefore({ pathname, search }: URL): string {
  return `${pathname}${search === '' ? '?' : `${search}&`}dns=`
}

/** Asks the question of `exchange`; false when the server has no stream for another one. */
export function get(client: Client, before: string, exchange: Exchange): boolean {
  const length = writeQuestion(exchange.query, scratch, 0, QUESTION)
  // RFC 8484 §6: base64url without padding
  const path = before + scratch.toString('base64url', 0, length)
  return client.dispatch({ path, method: 'GET', headers: FIELDS }, exchange)
}
