import { randomInt } from 'node:crypto'
import { Flag, flagsOf } from '../../dns/header.ts'
import { buildQuery } from '../../dns/query-writer.ts'
import { answerTexts, malformedAt, messageJson, messageText } from '../../dns/text.ts'
import { DOQ } from '../client/doq.ts'
import type { Exchange } from '../client/exchange.ts'
import { http3 } from '../client/http3.ts'
import { askOverHttps } from '../client/https.ts'
import { askOnceOverQuic } from '../client/quic.ts'
import type { Reply } from '../client/session.ts'
import { askOverTcp, askOverTls } from '../client/stream.ts'
import { askOverUdp } from '../client/udp.ts'
import { parseQuery, type QueryOptions, type QueryRequest } from './query-arguments.ts'
import { queryFailure } from './query-failure.ts'
import { overTcp, type Protocol, type Server } from './query-server.ts'
import { sessionJson, sessionText, tenths } from './query-session.ts'
import { quicTrust, tlsChoice } from './query-trust.ts'

/** Asks, and writes the answer. Fails with ATLAS_QUERY when there is none. */
export async function runQuery(words: readonly string[], options: QueryOptions, out: (text: string) => void): Promise<void> {
  const request = parseQuery(words, options)
  try {
    const answer = await ask(request)
    out(format(request, answer))
    const broken = malformedAt(answer.message)
    if (broken >= 0) throw new Error(`the answer is malformed: cannot be read from octet ${broken} on`)
  } catch (error) {
    throw queryFailure(request, error)
  }
}

/** RFC 9250 §4.2.1; RFC 8484 §4.1: the same bytes for the same question, so that HTTP caches work. */
const WITHOUT_ID: ReadonlySet<Protocol> = new Set(['https', 'h3', 'quic'])

interface Answered extends Reply {
  /** Who gave it: another one than was asked first when that answer was truncated. */
  readonly server: Server
  readonly milliseconds: number
}

async function ask(request: QueryRequest): Promise<Answered> {
  const { server } = request
  const id = request.id ?? (WITHOUT_ID.has(server.protocol) ? 0 : randomInt(0x1_0000))
  const exchange = { server, query: buildQuery({ ...request, id }), signal: AbortSignal.timeout(request.timeoutMs) }
  const start = performance.now()
  const answered = (reply: Reply, by: Server) => ({ ...reply, server: by, milliseconds: performance.now() - start })
  const reply = await send(request, exchange)
  if (server.protocol !== 'udp' || (flagsOf(reply.message) & Flag.TC) === 0 || request.ignoreTruncation) return answered(reply, server)
  const tcp = overTcp(server)
  return answered(await askOverTcp({ ...exchange, server: tcp }), tcp)
}

async function send({ server, trust, get }: QueryRequest, exchange: Exchange): Promise<Reply> {
  switch (server.protocol) {
    case 'udp':
      return askOverUdp(exchange)
    case 'tcp':
      return askOverTcp(exchange)
    case 'tls':
      return askOverTls(exchange, await tlsChoice(trust))
    case 'https':
      return askOverHttps(exchange, { url: server.url, get, tls: await tlsChoice(trust) })
    case 'quic':
      return askOnceOverQuic(exchange, { protocol: DOQ, trust: await quicTrust(trust) })
    case 'h3':
      return askOnceOverQuic(exchange, { protocol: http3({ url: server.url, get }), trust: await quicTrust(trust) })
  }
}

function format(request: QueryRequest, answer: Answered): string {
  switch (request.output) {
    case 'short':
      return answerTexts(answer.message)
        .map((text) => `${text}\n`)
        .join('')
    case 'json':
      return `${JSON.stringify({ ...messageJson(answer.message), transport: transportJson(request, answer) }, null, 2)}\n`
    case 'text':
      return `${messageText(answer.message)}\n${trailer(request, answer)}`
  }
}

function trailer(request: QueryRequest, { message, session, server, milliseconds }: Answered): string {
  const truncated = server === request.server ? '' : ';; Truncated over UDP, asked again over TCP\n'
  const where = { url: 'url' in server ? server.url : null, verifiedName: verifiedName(request) }
  const how = session === null ? '' : sessionText(session, where)
  const time = new Date().toISOString().replace(/T(.*)\..*/, ' $1 UTC')
  return `${truncated}${how};; Received ${message.length} B\n;; Time ${time}\n;; From ${server.text} in ${milliseconds.toFixed(1)} ms\n`
}

/** No member of RFC 8427, so its readers pass over it. */
function transportJson(request: QueryRequest, { session, server, milliseconds }: Answered): object {
  const how = session === null ? {} : sessionJson(session, verifiedName(request))
  return { protocol: server.protocol, server: server.text, milliseconds: tenths(milliseconds), ...how }
}

function verifiedName({ trust }: QueryRequest): string | null {
  return trust.insecure ? null : trust.serverName
}
