import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import { createSecureContext, type SecureContext } from 'node:tls'
import { isDeepStrictEqual } from 'node:util'
import { AcmeError, problemText, problemType } from './problem.ts'
import { parseRetryAfter } from './retry-after.ts'

export interface HttpRequest {
  readonly url: string
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface HttpResponse {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export interface Reply<T> {
  readonly value: T
  /** Retry-After of the last response. */
  readonly retryAfterMs: number | null
}

export interface HttpOptions {
  /** PEM of all that are trusted; null: the usual ones. */
  readonly roots: readonly string[] | null
  /** Product and version (RFC 8555 §6.1). */
  readonly userAgent: string
  readonly signal: AbortSignal
  readonly now: () => number
}

/** Has `work` done with a way to the CA. Throws also when there is none: roots that cannot be read. */
export type Reach = <T>(work: (http: AcmeHttp) => Promise<T>) => Promise<T>

const TIMEOUT_MS = 30_000
/** A chain with its intermediates has 10 KiB. */
const MAX_BODY_BYTES = 262_144
/** Links to alternate chains are header fields: this bounds them too. */
const MAX_HEADER_BYTES = 16_384
const MAX_SOCKETS = 4

interface Call {
  readonly http: AcmeHttp
  retryAfterMs: number | null
}

const calls = new AsyncLocalStorage<Call>()

/**
 * HTTPS to a CA. Names are looked up by the system and no proxy is asked, so that nothing waits for the gateway itself. Nothing is
 * tried again here: that is for the schedule.
 */
export class AcmeHttp {
  readonly #options: HttpOptions
  readonly #agent: Agent

  constructor(options: HttpOptions) {
    this.#options = options
    this.#agent = new Agent({ keepAlive: true, maxSockets: MAX_SOCKETS, secureContext: contextOf(options.roots) })
  }

  /** JSON. Throws AcmeError for what the CA says, Error for everything else. */
  async get(url: string): Promise<Reply<unknown>> {
    return this.call(async () => {
      const { body } = await this.send({ url, method: 'GET', headers: {}, body: '' })
      const value = parseJson(body)
      if (value === undefined) throw new Error(`it is not JSON: ${url}`)
      return value
    })
  }

  /** Runs `work`, whose requests through acme-client go this way. Throws as get() does. */
  async call<T>(work: () => Promise<T>): Promise<Reply<T>> {
    const call: Call = { http: this, retryAfterMs: null }
    const value = await calls.run(call, work)
    return { value, retryAfterMs: call.retryAfterMs }
  }

  /** The response if it is a good one, or one that acme-client deals with. */
  async send(sent: HttpRequest): Promise<HttpResponse> {
    // RFC 8555 §6.1
    if (!sent.url.startsWith('https://')) throw new Error(`it is no https:// URL: ${sent.url}`)
    const response = await this.#exchange(sent)
    const retryAfterMs = parseRetryAfter(response.headers['retry-after'], this.#options.now())
    const call = calls.getStore()
    if (call !== undefined) call.retryAfterMs = retryAfterMs
    if (response.status < 300) return response
    const problem = parseJson(response.body)
    const type = problemType(problem)
    // RFC 8555 §6.5: with the nonce of this very response
    if (type === 'badNonce') return response
    const text = problemText(problem)
    const { host } = new URL(sent.url)
    throw new AcmeError(text === '' ? `${host} answers with status ${response.status}` : `${host} says: ${text}`, {
      status: response.status,
      type,
      retryAfterMs,
    })
  }

  close(): void {
    this.#agent.destroy()
  }

  async #exchange({ url, method, headers, body }: HttpRequest): Promise<HttpResponse> {
    const timeout = AbortSignal.timeout(TIMEOUT_MS)
    const outgoing = request(url, {
      agent: this.#agent,
      method,
      headers: {
        ...headers,
        'user-agent': this.#options.userAgent,
        'accept-language': 'en',
        ...(body !== '' && { 'content-length': Buffer.byteLength(body) }),
      },
      maxHeaderSize: MAX_HEADER_BYTES,
      signal: AbortSignal.any([this.#options.signal, timeout]),
    })
    outgoing.on('error', () => {}) // one that comes after the response would end the process
    try {
      outgoing.end(body)
      const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage]
      return { status: incoming.statusCode ?? 0, headers: incoming.headers, body: await readBody(incoming) }
    } catch (error) {
      outgoing.destroy()
      if (timeout.aborted) throw new Error(`no answer within ${TIMEOUT_MS / 1000} s: ${new URL(url).host}`, { cause: error })
      throw error
    }
  }
}

/** The one through which the code that asks is to speak. */
export function httpOfCall(): AcmeHttp {
  const call = calls.getStore()
  if (call === undefined) throw new Error('acme-client is used outside of AcmeHttp.call()')
  return call.http
}

async function readBody(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_BODY_BYTES) throw new Error(`the answer has more than ${MAX_BODY_BYTES} octets`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** Undefined when it is not JSON. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The one that was made last: putting all roots together takes 25 ms, and entries mostly have the same CA. */
let made: { readonly roots: HttpOptions['roots']; readonly context: SecureContext } | null = null

function contextOf(roots: HttpOptions['roots']): SecureContext {
  if (made === null || !isDeepStrictEqual(made.roots, roots)) {
    made = { roots, context: createSecureContext(roots === null ? {} : { ca: [...roots] }) }
  }
  return made.context
}
