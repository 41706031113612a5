import { randomInt } from 'node:crypto'
import type { Command } from 'commander'
import { Flag, flagsOf } from '../../dns/header.ts'
import { answerTexts, malformedAt, messageJson, messageText } from '../../dns/text.ts'
import { parseQuery, type QueryOptions, type QueryRequest } from './query-arguments.ts'
import type { Exchange } from './query-exchange.ts'
import { queryFailure } from './query-failure.ts'
import { askOverHttps } from './query-https.ts'
import { buildQuery } from './query-message.ts'
import { overTcp, type Server } from './query-server.ts'
import { askOverTcp, askOverTls } from './query-stream.ts'
import { tlsChoice } from './query-trust.ts'
import { askOverUdp } from './query-udp.ts'

type Output = (text: string) => void

/** Adds the `query` command: asks one question over any transport and shows the answer. */
export function addQueryCommand(program: Command, out: Output = (text) => process.stdout.write(text)): void {
  program
    .command('query')
    .description('ask a DNS server over UDP, TCP, TLS or HTTPS')
    .argument('[words...]', '@server, name, type and class in any order; @server is a URL such as tls://127.0.0.1:8853')
    .option('--ca <file>', 'trust the CA certificates in this PEM file instead of the public ones')
    .option('--insecure', 'do not verify the certificate')
    .option('--server-name <name>', 'expect a certificate for this name (default: the host)')
    .option('--get', 'HTTPS: GET instead of POST')
    .option('--ignore-tc', 'UDP: take a truncated answer, do not ask again over TCP')
    .option('--short', 'show the data of the answer records only')
    .option('--json', 'show the answer as JSON (RFC 8427)')
    .option('--timeout <duration>', 'how long to wait, such as 500ms or 5s (default: 5s)')
    .option('--dnssec', 'ask for DNSSEC records (DO)')
    .option('--cd', 'ask not to validate (CD)')
    .option('--no-rd', 'do not ask for recursion')
    .option('--no-edns', 'send no OPT record')
    .option('--bufsize <octets>', 'largest UDP answer to announce')
    .option('--padding', 'pad the query (default: on encrypted transports)')
    .option('--no-padding', 'do not pad the query')
    .option('--id <number>', 'message id (default: random; 0 over HTTPS)')
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

interface Answered {
  readonly message: Uint8Array
  /** Who gave it: another one than was asked first when that answer was truncated. */
  readonly server: Server
  readonly milliseconds: number
}

async function ask(request: QueryRequest): Promise<Answered> {
  const { server } = request
  // RFC 8484 §4.1: the same bytes for the same question, so that HTTP caches work
  const id = request.id ?? (server.protocol === 'https' ? 0 : randomInt(0x1_0000))
  const exchange = { server, query: buildQuery({ ...request, id }), signal: AbortSignal.timeout(request.timeoutMs) }
  const start = performance.now()
  const answered = (message: Uint8Array, by: Server) => ({ message, server: by, milliseconds: performance.now() - start })
  const message = await send(request, exchange)
  if (server.protocol !== 'udp' || (flagsOf(message) & Flag.TC) === 0 || request.ignoreTruncation) return answered(message, server)
  const tcp = overTcp(server)
  return answered(await askOverTcp({ ...exchange, server: tcp }), tcp)
}

async function send({ server, trust, get }: QueryRequest, exchange: Exchange): Promise<Uint8Array> {
  switch (server.protocol) {
    case 'udp':
      return askOverUdp(exchange)
    case 'tcp':
      return askOverTcp(exchange)
    case 'tls':
      return askOverTls(exchange, await tlsChoice(trust))
    case 'https':
      return askOverHttps(exchange, { url: server.url, get, tls: await tlsChoice(trust) })
  }
}

function format(request: QueryRequest, { message, server, milliseconds }: Answered): string {
  if (request.output === 'short')
    return answerTexts(message)
      .map((text) => `${text}\n`)
      .join('')
  if (request.output === 'json') return `${JSON.stringify(messageJson(message), null, 2)}\n`
  const truncated = server === request.server ? '' : ';; Truncated over UDP, asked again over TCP\n'
  const time = new Date().toISOString().replace(/T(.*)\..*/, ' $1 UTC')
  const trailer = `;; Received ${message.length} B\n;; Time ${time}\n;; From ${server.text} in ${milliseconds.toFixed(1)} ms\n`
  return `${messageText(message)}\n${truncated}${trailer}`
}
