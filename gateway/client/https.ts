import { connect as connectTcp } from 'node:net'
import { connect as connectTls, TLSSocket } from 'node:tls'
import type { buildConnector, Dispatcher } from 'undici'
import { reasonOf } from '../../dns/operational-error.ts'
import { DNS_MESSAGE } from '../../net/doh-post.ts'
import { Content, getUrl, wrongResponse } from './doh.ts'
import { type Exchange, isHangUp, RefusedError, type TlsChoice } from './exchange.ts'
import { mismatch } from './message.ts'
import { afterHandshake, type HttpFacts, type Reply, type Session, tlsSession } from './session.ts'

export interface HttpsChoice {
  readonly url: URL
  readonly get: boolean
  /** Null: without TLS. */
  readonly tls: TlsChoice | null
}

/** Asks over HTTPS (RFC 8484), by HTTP/2 where the server has it and HTTP/1.1 where not. */
export async function askOverHttps(exchange: Exchange, choice: HttpsChoice): Promise<Reply> {
  // it takes 100 ms to load, which no other command should wait for
  const { Agent, request } = await import('undici')
  const { query, signal } = exchange
  const method = choice.get ? 'GET' : 'POST'
  const connection = connector(exchange, choice.tls)
  // the signal is the only deadline: undici's own would end longer ones early
  const dispatcher = new Agent({ connect: connection.connect, allowH2: true, headersTimeout: 0, bodyTimeout: 0 })
  try {
    const response = await request(choice.get ? getUrl(choice.url, query) : choice.url, {
      dispatcher,
      signal,
      method,
      ...(choice.get
        ? { headers: { accept: DNS_MESSAGE } }
        : { headers: { accept: DNS_MESSAGE, 'content-type': DNS_MESSAGE }, body: query }),
    })
    const message = await readMessage(response)
    const reason = mismatch(query, message)
    if (reason !== null) throw new Error(reason)
    return { message, session: connection.session({ method, status: response.statusCode }) }
  } catch (error) {
    throw isHangUp(error) ? new RefusedError(reasonOf(error)) : error
  } finally {
    await dispatcher.destroy()
  }
}

interface Connector {
  readonly connect: buildConnector.connector
  session(http: Omit<HttpFacts, 'version'>): Session | null
}

/** undici looks at its signal only once it is connected, and leaves a socket that is not to itself. */
function connector({ server, signal }: Exchange, choice: TlsChoice | null): Connector {
  let made: { socket: TLSSocket; handshakeMs: number } | null = null
  return {
    connect: (_options, callback) => {
      if (signal.aborted) {
        callback(signal.reason, null)
        return
      }
      const socket =
        choice === null
          ? connectTcp(server)
          : connectTls({ ...choice, host: server.host, port: server.port, ALPNProtocols: ['h2', 'http/1.1'] })
      const abort = () => socket.destroy(signal.reason)
      const fail = (error: Error) => callback(error, null)
      signal.addEventListener('abort', abort)
      socket.once('error', fail)
      const ready = () => {
        signal.removeEventListener('abort', abort)
        socket.off('error', fail)
        callback(null, socket)
      }
      if (!(socket instanceof TLSSocket)) {
        socket.once('connect', ready)
        return
      }
      afterHandshake(socket, (handshakeMs) => {
        made = { socket, handshakeMs }
        ready()
      })
    },
    session: (http) =>
      made && tlsSession(made.socket, made.handshakeMs, { version: made.socket.alpnProtocol === 'h2' ? '2' : '1.1', ...http }),
  }
}

async function readMessage({ statusCode, headers, body }: Dispatcher.ResponseData): Promise<Uint8Array> {
  const type = headers['content-type']
  const wrong = wrongResponse(statusCode, type === undefined ? null : String(type))
  if (wrong !== null) throw wrong
  const content = new Content()
  for await (const chunk of body as AsyncIterable<Buffer>) {
    const tooMuch = content.add(chunk)
    if (tooMuch !== null) throw new Error(tooMuch)
  }
  return content.take()
}
