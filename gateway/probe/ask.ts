import { randomInt } from 'node:crypto'
import { isIP } from 'node:net'
import { u8 } from '../../dns/bytes.ts'
import { Flag, flagsOf } from '../../dns/header.ts'
import { reasonOf } from '../../dns/operational-error.ts'
import { buildQuery } from '../../dns/query-writer.ts'
import { readParts } from '../../dns/text-parts.ts'
import { Class, Rcode, Type } from '../../dns/types.ts'
import { formatEndpoint } from '../../net/address.ts'
import type { QuicEngine } from '../../net/quic.ts'
import { tokenPath } from '../../net/token.ts'
import { DOQ } from '../client/doq.ts'
import { type Exchange, RefusedError, type TlsChoice } from '../client/exchange.ts'
import { http3 } from '../client/http3.ts'
import { askOverHttps } from '../client/https.ts'
import { askOverQuic, createClientEngine, type QuicProtocol } from '../client/quic.ts'
import type { Reply } from '../client/session.ts'
import { askOverTcp, askOverTls } from '../client/stream.ts'
import { askOverUdp } from '../client/udp.ts'
import { PROBE_ZONE, probeName } from '../stages/probe.ts'
import type { ProbeOutcome } from './outcome.ts'
import type { ProbeTarget, ProbeTransport } from './target.ts'

/** A probe stays within the machine and takes milliseconds; a worker that is busy for longer has clients that wait as long. */
const TIMEOUT_MS = 2000
/** A reason is partly what the other side has written. */
const MAX_REASON_LENGTH = 200
/** RFC 9250 §4.2.1, RFC 8484 §4.1. */
const WITHOUT_ID: ReadonlySet<ProbeTransport> = new Set(['doh', 'doh3', 'doq'])
/** RFC 8446 §6.2, alert 116. */
const CERTIFICATE_REQUIRED = 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'

export interface ProbeClientOptions {
  /** 32 hexadecimal digits, known to the workers. */
  readonly token: string
  /**
   * Of the QUIC library: the directory of the workers, so that TMPDIR is the same for all. Nothing is written there, because
   * no certificate is verified.
   */
  readonly keyDirectory: string
  readonly timeoutMs?: number
}

/** Asks a listener of this gateway as clients do. Certificates are not verified: their ends are watched elsewhere. */
export class ProbeClient {
  readonly #token: string
  readonly #name: Uint8Array
  readonly #keyDirectory: string
  readonly #timeoutMs: number
  #engine: QuicEngine | null = null

  constructor({ token, keyDirectory, timeoutMs = TIMEOUT_MS }: ProbeClientOptions) {
    this.#token = token
    this.#name = probeName(token)
    this.#keyDirectory = keyDirectory
    this.#timeoutMs = timeoutMs
  }

  async ask(target: ProbeTarget, stop: AbortSignal): Promise<ProbeOutcome> {
    const abort = new AbortController()
    const onStop = (): void => abort.abort(stop.reason)
    stop.addEventListener('abort', onStop, { once: true })
    const timeoutMs = this.#timeoutMs
    const timer = setTimeout(() => abort.abort(new Error(`no answer within ${timeoutMs / 1000} s`)), timeoutMs)
    const startedAt = performance.now()
    try {
      stop.throwIfAborted()
      const { message } = await this.#send(target, abort.signal)
      return { outcome: 'ok', worker: workerOf(message), seconds: (performance.now() - startedAt) / 1000 }
    } catch (error) {
      return { outcome: isRefusal(error) ? 'refused' : 'failed', reason: reasonText(error) }
    } finally {
      clearTimeout(timer)
      stop.removeEventListener('abort', onStop)
    }
  }

  #send(target: ProbeTarget, signal: AbortSignal): Promise<Reply> {
    const { transport, server } = target
    const exchange: Exchange = { server, query: this.#query(transport), signal }
    switch (transport) {
      case 'udp':
        return askOverUdp(exchange)
      case 'tcp':
        return askOverTcp(exchange)
      case 'dot':
        return askOverTls(exchange, target.needsToken ? this.#tokenChoice() : tlsChoice(target))
      case 'doh':
        return askOverHttps(exchange, { url: this.#urlOf(target), get: false, tls: target.cleartext ? null : tlsChoice(target) })
      case 'doh3':
        return this.#askOverQuic(exchange, target, http3({ url: this.#urlOf(target), get: false }))
      case 'doq':
        return this.#askOverQuic(exchange, target, DOQ)
    }
  }

  async #askOverQuic(exchange: Exchange, { host }: ProbeTarget, protocol: QuicProtocol): Promise<Reply> {
    this.#engine ??= createClientEngine(this.#keyDirectory)
    return askOverQuic(exchange, this.#engine, { protocol, trust: { serverName: host, roots: null } })
  }

  /** The token as first label of the server name. */
  #tokenChoice(): TlsChoice {
    return { servername: `${this.#token}.${PROBE_ZONE}`, rejectUnauthorized: false }
  }

  #urlOf({ host, server, path, cleartext, needsToken }: ProbeTarget): URL {
    const origin = `${cleartext ? 'http' : 'https'}://${formatEndpoint({ host, port: server.port })}`
    return new URL(needsToken ? tokenPath(path, this.#token) : path, origin)
  }

  #query(transport: ProbeTransport): Uint8Array {
    return buildQuery({
      id: WITHOUT_ID.has(transport) ? 0 : randomInt(0x1_0000),
      name: this.#name,
      type: Type.TXT,
      class: Class.IN,
      recursionDesired: true,
      checkingDisabled: false,
      edns: null,
    })
  }
}

function tlsChoice({ host }: ProbeTarget): TlsChoice {
  // RFC 6066 §3: an address is never sent as a server name
  return { ...(isIP(host) === 0 ? { servername: host } : {}), rejectUnauthorized: false }
}

/** The worker that gave the answer. Throws when it does not say. */
function workerOf(message: Uint8Array): number {
  const rcode = flagsOf(message) & Flag.RCODE
  if (rcode !== Rcode.NOERROR) throw new Error(`expected the index of a worker: received an answer with RCODE ${rcode}`)
  const [record] = readParts(message)?.answers ?? []
  const text = record?.type === Type.TXT ? Buffer.from(message.subarray(record.rdata, record.end)) : Buffer.of(0)
  const [, digits] = text.length === u8(text, 0) + 1 ? (/^.(\d{1,3})$/s.exec(text.toString('latin1')) ?? []) : []
  if (digits === undefined) throw new Error('expected the index of a worker: received another answer')
  return Number(digits)
}

/** A listener that wants certificates of its clients is well when it says so: there is none that it would take from us. */
function isRefusal(error: unknown): boolean {
  return error instanceof RefusedError || (error instanceof Error && 'code' in error && error.code === CERTIFICATE_REQUIRED)
}

function reasonText(error: unknown): string {
  const reason = hasReason(error) ? error.reason : reasonOf(error)
  const advice = isNobodyThere(error) ? 'nobody listens: ' : ''
  return `${advice}${reason.replaceAll(/\p{C}+/gu, ' ')}`.slice(0, MAX_REASON_LENGTH)
}

/** OpenSSL's errors have the readable part of their message besides. */
function hasReason(error: unknown): error is Error & { readonly reason: string } {
  return error instanceof Error && 'reason' in error && typeof error.reason === 'string'
}

function isNobodyThere(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ECONNREFUSED'
}
