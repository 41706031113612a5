import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Endpoint } from '../../net/address.ts'
import { createServer } from '../../net/http.ts'
import { bindServer, closeServer } from '../../net/listen.ts'

export interface AdminSource {
  /** Whether queries are being taken: false while starting and while draining. */
  isReady(): boolean
  metrics(): string
}

const METHODS = new Set(['GET', 'HEAD'])
const PLAIN = 'text/plain; charset=utf-8'
/** Prometheus text format, https://prometheus.io/docs/instrumenting/exposition_formats/ */
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'
/** A scraper and a few probes; nobody else has business here. */
const MAX_CONNECTIONS = 32
const TIMEOUT_MS = 5000

/** The admin listener: GET /metrics, /healthz and /readyz, nothing else. */
export class AdminServer {
  readonly #server: Server
  readonly #source: AdminSource
  #endpoint: Endpoint | null = null

  constructor(source: AdminSource) {
    this.#source = source
    this.#server = createServer({ headersTimeout: TIMEOUT_MS, requestTimeout: TIMEOUT_MS, keepAliveTimeout: TIMEOUT_MS })
    this.#server.maxConnections = MAX_CONNECTIONS
    this.#server.on('request', (request, response) => this.#onRequest(request, response))
  }

  /** Null until it listens. */
  get endpoint(): Endpoint | null {
    return this.#endpoint
  }

  async listen(endpoint: Endpoint): Promise<void> {
    this.#endpoint = await bindServer(this.#server, { name: 'admin', endpoint })
  }

  async close(): Promise<void> {
    const closed = closeServer(this.#server)
    this.#server.closeAllConnections()
    await closed
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    request.resume()
    if (!METHODS.has(request.method ?? '')) {
      response.writeHead(405, { allow: 'GET, HEAD' }).end()
      return
    }
    const ready = this.#source.isReady()
    switch (request.url) {
      case '/healthz':
        send(response, { status: 200, body: 'ok\n' })
        break
      case '/readyz':
        send(response, ready ? { status: 200, body: 'ready\n' } : { status: 503, body: 'not ready\n' })
        break
      case '/metrics':
        send(response, { status: 200, body: this.#source.metrics(), type: METRICS_TYPE })
        break
      default:
        send(response, { status: 404, body: 'expected /metrics, /healthz or /readyz\n' })
    }
  }
}

function send(response: ServerResponse, { status, body, type = PLAIN }: { status: number; body: string; type?: string }): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body), 'cache-control': 'no-store' }).end(body)
}
