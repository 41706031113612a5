import { randomInt } from 'node:crypto'
import type { Command } from 'commander'
import { Flag, flagsOf } from '../../dns/header.ts'
import { answerTexts, malformedAt, messageJson, messageText } from '../../dns/text.ts'
import { parseQuery, type QueryOptions, type QueryRequest } from './query-arguments.ts'
import { DOQ } from './query-doq.ts'
import type { Exchange } from './query-exchange.ts'
import { queryFailure } from './query-failure.ts'
import { http3 } from './query-http3.ts'
import { askOverHttps } from './query-https.ts'
import { buildQuery } from './query-message.ts'
import { askOverQuic } from './query-quic.ts'
import { overTcp, type Protocol, type Server } from './query-server.ts'
import { type Reply, sessionJson, sessionText, tenths } from './query-session.ts'
import { askOverTcp, askOverTls } from './query-stream.ts'
import { quicTrust, tlsChoice } from './query-trust.ts'
import { askOverUdp } from './query-udp.ts'

type Output = (text: string) => void

/** Adds the `query` command: asks one question over any transport and shows the answer. */
export function addQueryCommand(program: Command, out: Output = (text) => process.stdout.write(text)): void {
  program
    .command('query')
    .description('ask a DNS server over UDP, TCP, TLS, HTTPS, QUIC or HTTP/3')
    .argument(
      '[words...]',
      '@server, name, type and class in any order; @server is a URL: udp:// tcp:// tls:// https:// quic:// or h3://, such as tls://127.0.0.1:8853',
    )
    .option('--ca <file>', 'trust the CA certificates in this PEM file instead of the public ones')
    .option('--insecure', 'do not verify the certificate')
    .option('--server-name <name>', 'expect a certificate for this name (default: the host)')
    .option('--get', 'HTTPS and HTTP/3: GET instead of POST')
    .option('--ignore-tc', 'UDP: take a truncated answer, do not ask again over TCP')
    .option('--short', 'show the data of the answer records only')
    .option('--json', 'show the answer as JSON (RFC 8427), with "transport" for how it came')
    .option('--timeout <duration>', 'how long to wait, such as 500ms or 5s (default: 5s)')
    .option('--dnssec', 'ask for DNSSEC records (DO)')
    .option('--cd', 'ask not to validate (CD)')
    .option('--no-rd', 'do not ask for recursion')
    .option('--no-edns', 'send no OPT record')
    .option('--bufsize <octets>', 'largest UDP answer to announce')
    .option('--padding', 'pad the query (default: on encrypted transports)')
    .option('--no-padding', 'do not pad the query')
    .option('--id <number>', 'message id (default: random; 0 over HTTPS, HTTP/3 and QUIC, which allows no other)')
    .action((words: string[], options: QueryOptions) => runQuery(parseQuery(words, options), out))
}

/** Asks, and writes the answer. Fails with ATLAS_QUERY when there is none. */
async function runQuery(request: QueryRequest, out: Output): Promise<void> {
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
      return askOverQuic(exchange, DOQ, await quicTrust(trust))
    case 'h3':
      return askOverQuic(exchange, http3({ url: server.url, get }), await quicTrust(trust))
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
