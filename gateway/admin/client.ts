import type { IncomingMessage } from 'node:http'
import { OperationalError, reasonOf } from '../../dns/operational-error.ts'
import type { ControlEvent } from './control.ts'
import { checkSocketPath } from './socket-path.ts'

// not by an import statement: see net/http.ts
const { request: httpRequest } = process.getBuiltinModule('node:http')

const TIMEOUT_MS = 30_000
/** The largest resource is a configuration of at most 1 MiB, with defaults and JSON around it. */
const MAX_BODY_OCTETS = 16_777_216
/** An event is a sentence and a few facts. */
const MAX_EVENT_LENGTH = 65_536

export interface AskOptions {
  /** From the connection to the last octet of the answer. */
  readonly timeoutMs?: number
}

/** The gateway answered, and the answer is no: status 400 and above. */
export class AdminError extends OperationalError {
  readonly status: number
  /** What the JSON says: `{ error: { code, message } }`, or the ReloadOutcome of a reload with 409 and 422. */
  readonly body: unknown
  /** What it says in words; null: nothing. */
  readonly reason: string | null

  constructor(what: string, status: number, body: unknown) {
    const reason = messageOf(body)
    super('ATLAS_ADMIN', `Cannot ${what}: ${reason ?? `the gateway answered with status ${status}`}`)
    this.name = 'AdminError'
    this.status = status
    this.body = body
    this.reason = reason
  }
}

/** Asks a running gateway through its admin socket (docs/api.md). Everything that goes wrong is an OperationalError ATLAS_ADMIN. */
export class AdminClient {
  readonly #socketPath: string

  constructor(socketPath: string) {
    checkSocketPath(socketPath)
    this.#socketPath = socketPath
  }

  get<T>(path: string, options?: AskOptions): Promise<T> {
    return this.#ask('GET', path, options)
  }

  post<T>(path: string, options?: AskOptions): Promise<T> {
    return this.#ask('POST', path, options)
  }

  delete<T>(path: string, options?: AskOptions): Promise<T> {
    return this.#ask('DELETE', path, options)
  }

  /** Resolves when `signal` aborts or the gateway ends the stream. `onEvent` must not throw. */
  async events(onEvent: (event: ControlEvent) => void, signal: AbortSignal): Promise<void> {
    let following = false
    try {
      const response = await this.#send('GET', '/v1/events', signal)
      if (response.statusCode !== 200) throw new AdminError('follow the events', response.statusCode ?? 0, parse(await textOf(response)))
      following = true
      for await (const event of eventsOf(response)) onEvent(event)
    } catch (error) {
      // a gateway that ends, or that has no room for a slow follower, just closes the connection
      if (signal.aborted || (following && systemCode(error) === 'ECONNRESET')) return
      throw this.#failure(error)
    }
  }

  async #ask<T>(method: string, path: string, { timeoutMs = TIMEOUT_MS }: AskOptions = {}): Promise<T> {
    const signal = AbortSignal.timeout(timeoutMs)
    try {
      const response = await this.#send(method, path, signal)
      const body = parse(await textOf(response))
      const status = response.statusCode ?? 0
      if (status >= 400) throw new AdminError(`${method} ${path}`, status, body)
      return body as T
    } catch (error) {
      throw signal.aborted ? this.#unreachable(`no answer within ${timeoutMs / 1000} s`, error) : this.#failure(error)
    }
  }

  #send(method: string, path: string, signal: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const options = { socketPath: this.#socketPath, method, path, signal, agent: false, headers: { host: 'localhost' } }
      httpRequest(options).on('response', resolve).on('error', reject).end()
    })
  }

  #failure(error: unknown): OperationalError {
    if (error instanceof OperationalError) return error
    switch (systemCode(error)) {
      case 'ENOENT':
      case 'ENOTDIR':
      case 'ECONNREFUSED':
        return this.#unreachable('no gateway is running with this state directory', error)
      case 'EACCES':
      case 'EPERM':
        return this.#unreachable('permission denied: only the user that runs the gateway and root may ask it', error)
      default:
        return this.#unreachable(reasonOf(error), error)
    }
  }

  #unreachable(reason: string, cause: unknown): OperationalError {
    return new OperationalError('ATLAS_ADMIN', `Cannot reach the gateway at ${this.#socketPath}: ${reason}`, cause)
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let octets = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    octets += chunk.length
    if (octets > MAX_BODY_OCTETS) throw new Error(`expected at most ${MAX_BODY_OCTETS} octets: received more`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new Error('expected JSON: received something else', { cause: error })
  }
}

/** Of https://html.spec.whatwg.org/multipage/server-sent-events.html what the gateway makes use of. */
async function* eventsOf(response: IncomingMessage): AsyncGenerator<ControlEvent> {
  let rest = ''
  for await (const text of response.setEncoding('utf8') as AsyncIterable<string>) {
    const blocks = (rest + text).split('\n\n')
    rest = blocks.pop() ?? ''
    if (rest.length > MAX_EVENT_LENGTH) throw new Error(`expected events of at most ${MAX_EVENT_LENGTH} characters: received more`)
    for (const block of blocks) {
      const data = block.split('\n').find((line) => line.startsWith('data: '))
      if (data !== undefined) yield parse(data.slice('data: '.length)) as ControlEvent
    }
  }
}

function messageOf(body: unknown): string | null {
  const { error, message } = (body ?? {}) as { readonly error?: { readonly message?: unknown }; readonly message?: unknown }
  const text = error?.message ?? message
  return typeof text === 'string' ? text : null
}

function systemCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
