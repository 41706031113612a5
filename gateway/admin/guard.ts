import { createHash, timingSafeEqual } from 'node:crypto'
import type { Logger } from 'pino'
import { canonicalAddress } from '../../net/address.ts'
import { show } from '../config/problem.ts'
import type { FailureLimit } from './failure-limit.ts'
import type { Refusal } from './refusal.ts'
import { isOwnAuthority } from './target.ts'

/** For scrapers and load balancers. Everything else needs the token: what is forgotten here is closed, not open. */
const PUBLIC_PATHS: ReadonlySet<string> = new Set(['/metrics', '/healthz', '/readyz'])
const PUBLIC_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD'])

export interface GuardSettings {
  /** Null: the TCP listener serves the public paths only. */
  readonly token: string | null
  /** Names besides IP addresses and "localhost" under which clients may ask. */
  readonly hosts: readonly string[]
}

export interface Caller {
  readonly method: string
  /** As the router reads it. */
  readonly path: string
  readonly authorization: string | undefined
  readonly address: string
}

/** Who may come in through the TCP listener, and to what. */
export class Guard {
  readonly #digest: Buffer | null
  readonly #hosts: ReadonlySet<string>
  readonly #failures: FailureLimit
  readonly #log: Logger

  constructor({ token, hosts }: GuardSettings, failures: FailureLimit, log: Logger) {
    this.#digest = token === null ? null : digestOf(token)
    this.#hosts = new Set(hosts.map((host) => host.toLowerCase().replace(/\.$/, '')))
    this.#failures = failures
    this.#log = log
  }

  /** `authority` null: HTTP/1.0 without Host, as load balancers ask and no browser does. */
  refuseHost(authority: string | null): Refusal | null {
    if (authority === null || isOwnAuthority(authority, this.#hosts)) return null
    const message = `expected an IP address, localhost or a name in listen.admin.hosts as Host: received ${show(authority)}`
    return { code: 'misdirected_request', message }
  }

  refuseCaller({ method, path, authorization, address }: Caller): Refusal | null {
    if (PUBLIC_PATHS.has(path) && PUBLIC_METHODS.has(method)) return null
    if (this.#digest === null) return { code: 'forbidden', message: NO_TOKEN }
    if (authorization === undefined) return unauthorized('nothing')
    const wait = this.#failures.waitSeconds(address)
    if (wait > 0) return tooManyFailures(wait)
    if (isToken(authorization, this.#digest)) return null
    this.#failures.count(address)
    this.#log.warn({ address: canonicalAddress(address) }, 'a wrong token was shown to the admin listener')
    return unauthorized('another one')
  }

  /** Whether both let in the same callers. */
  hasTokenOf(other: Guard): boolean {
    const [mine, theirs] = [this.#digest, other.#digest]
    return mine === null || theirs === null ? mine === theirs : timingSafeEqual(mine, theirs)
  }
}

const NO_TOKEN =
  'expected the socket state/admin.sock, or a token set with listen.admin.tokenFile: received a request over TCP, and no token is configured'

function unauthorized(received: string): Refusal {
  return {
    code: 'unauthorized',
    message: `expected the token of listen.admin.tokenFile in "Authorization: Bearer …": received ${received}`,
    headers: { 'www-authenticate': 'Bearer' },
  }
}

function tooManyFailures(seconds: number): Refusal {
  return {
    code: 'too_many_requests',
    message: `expected a pause of ${seconds} s after too many wrong tokens: received another one`,
    headers: { 'retry-after': String(seconds) },
  }
}

function isToken(authorization: string, digest: Buffer): boolean {
  // RFC 9110 §11.1: the scheme is case-insensitive
  const [, token = ''] = /^bearer +([\x21-\x7e]+) *$/i.exec(authorization) ?? []
  return timingSafeEqual(digestOf(token), digest)
}

/** Of one length, whatever the token's. */
function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
