import { copyOf } from '../../dns/bytes.ts'
import { MAX_MESSAGE_LENGTH } from '../../dns/header.ts'
import { DNS_MESSAGE, isDnsMessage } from '../../net/doh-post.ts'
import { RefusedError } from './exchange.ts'

/** RFC 8484 §4.1 and §6: base64url without padding, in the variable "dns". */
export function getUrl(url: URL, query: Uint8Array): URL {
  const asking = new URL(url)
  asking.searchParams.set('dns', Buffer.from(query).toString('base64url'))
  return asking
}

/** RFC 9110 §15.5.4, §15.6.4: Forbidden, Service Unavailable. */
const REFUSALS = new Set([403, 503])

/** Why the response has no DNS message (RFC 8484 §4.2.1: a 2xx one with the media type has); null when it has. */
export function wrongResponse(status: number, contentType: string | null): Error | null {
  if (REFUSALS.has(status)) return new RefusedError(`HTTP status ${status}`)
  if (status < 200 || status > 299) return new Error(`HTTP status ${status}`)
  if (isDnsMessage(contentType)) return null
  return new Error(`the content type is not ${DNS_MESSAGE}: received ${contentType ?? 'none'}`)
}

/** The content of a response, as it comes. */
export class Content {
  readonly #chunks: Uint8Array[] = []
  #length = 0

  /** Takes a copy; says why it is too much. */
  add(chunk: Uint8Array): string | null {
    this.#length += chunk.length
    if (this.#length > MAX_MESSAGE_LENGTH) return `the answer is longer than a DNS message can be: over ${MAX_MESSAGE_LENGTH} octets`
    this.#chunks.push(copyOf(chunk, chunk.length))
    return null
  }

  take(): Uint8Array {
    return Buffer.concat(this.#chunks)
  }
}
