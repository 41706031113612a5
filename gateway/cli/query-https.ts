import { connect as connectTls } from 'node:tls'
import { Agent, type buildConnector, type Dispatcher, request } from 'undici'
import { MAX_MESSAGE_LENGTH } from '../../dns/header.ts'
import type { Exchange, TlsChoice } from './query-exchange.ts'
import { mismatch } from './query-message.ts'

/** RFC 8484 §6. */
const MEDIA_TYPE = 'application/dns-message'

export interface HttpsChoice {
  readonly url: URL
  readonly get: boolean
  readonly tls: TlsChoice
}

/** Asks over HTTPS (RFC 8484), by HTTP/2 where the server has it and HTTP/1.1 where not. */
export async function askOverHttps(exchange: Exchange, choice: HttpsChoice): Promise<Uint8Array> {
  const { query, signal } = exchange
  // the signal is the only deadline: undici's own would end longer ones early
  const dispatcher = new Agent({ connect: connector(exchange, choice.tls), allowH2: true, headersTimeout: 0, bodyTimeout: 0 })
  try {
    const response = await request(choice.get ? getUrl(choice.url, query) : choice.url, {
      dispatcher,
      signal,
      ...(choice.get
        ? { method: 'GET', headers: { accept: MEDIA_TYPE } }
        : { method: 'POST', headers: { accept: MEDIA_TYPE, 'content-type': MEDIA_TYPE }, body: query }),
    })
    const message = await readMessage(response)
    const reason = mismatch(query, message)
    if (reason !== null) throw new Error(reason)
    return message
  } finally {
    await dispatcher.destroy()
  }
}

/** undici looks at its signal only once it is connected, and leaves a socket that is not to itself. */
function connector({ server, signal }: Exchange, choice: TlsChoice): buildConnector.connector {
  return (_options, callback) => {
    const socket = connectTls({ ...choice, host: server.host, port: server.port, ALPNProtocols: ['h2', 'http/1.1'] })
    const abort = () => socket.destroy(signal.reason)
    const fail = (error: Error) => callback(error, null)
    signal.addEventListener('abort', abort)
    socket.once('error', fail)
    socket.once('secureConnect', () => {
      signal.removeEventListener('abort', abort)
      socket.off('error', fail)
      callback(null, socket)
    })
  }
}

/** RFC 8484 §4.1 and §6: base64url without padding, in the variable "dns". */
function getUrl(url: URL, query: Uint8Array): URL {
  const asking = new URL(url)
  asking.searchParams.set('dns', Buffer.from(query).toString('base64url'))
  return asking
}

/** RFC 8484 §4.2.1: only a 2xx answer with the media type has a DNS message. */
async function readMessage({ statusCode, headers, body }: Dispatcher.ResponseData): Promise<Uint8Array> {
  if (statusCode < 200 || statusCode > 299) throw new Error(`HTTP status ${statusCode}`)
  const type = String(headers['content-type'] ?? 'none')
  const [essence = ''] = type.split(';')
  if (essence.trim().toLowerCase() !== MEDIA_TYPE) throw new Error(`the content type is not ${MEDIA_TYPE}: received ${type}`)
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > MAX_MESSAGE_LENGTH) throw new Error(`the answer is longer than a DNS message can be: over ${MAX_MESSAGE_LENGTH} octets`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
