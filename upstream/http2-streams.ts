import { subscribe } from 'node:diagnostics_channel'
import type { ClientHttp2Stream } from 'node:http2'

/** Has made undici open a stream. */
export interface StreamOwner {
  stream: ClientHttp2Stream | null
}

let owner: StreamOwner | null = null
let isSubscribed = false

/**
 * The next stream of this thread's HTTP/2 clients is that of `of`: precondition, undici opens it within this turn. Node tells of it,
 * undici does not, and resets streams in a way that Node drops where the request is not on the wire yet.
 */
export function ownNextStream(of: StreamOwner): void {
  owner = of
  if (isSubscribed) return
  isSubscribed = true
  subscribe('http2.client.stream.created', (message) => {
    const { stream } = message as { stream: ClientHttp2Stream }
    // Node makes one of its own for a response to a request that it has let go of: nobody else listens when that fails
    stream.on('error', ignore)
    if (owner !== null) owner.stream = stream
    owner = null
  })
}

function ignore(): void {}
