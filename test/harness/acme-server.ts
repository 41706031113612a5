import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openLocalCa } from '../../certs/local-ca.ts'
import { AcmeIssuer, type Issued } from './acme-issuer.ts'
import {
  headerOf,
  isBoundBy,
  isSignedBy,
  type JsonWebKey,
  type Jws,
  type JwsHeader,
  payloadOf,
  publicKeyOf,
  thumbprint,
} from './acme-jws.ts'

export interface Reply {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
}

/** A request as the server has understood it. */
export interface AcmeRequest {
  /** As the directory names it, or order, finalize, authorization, challenge, certificate, alternate, account, renewalInfo, directory. */
  readonly resource: string
  readonly path: string
  readonly method: string
  readonly payload: unknown
  readonly userAgent: string
}

interface Account {
  jwk: JsonWebKey
  contact: readonly string[]
}

interface Identifier {
  readonly type: string
  readonly value: string
}

interface Authorization {
  readonly identifier: Identifier
  readonly isWildcard: boolean
  readonly token: string
  status: string
  error: unknown
  /** How often it is still pending when it is asked for. */
  polls: number
}

interface Order {
  readonly identifiers: readonly Identifier[]
  readonly authorizations: readonly number[]
  readonly profile: unknown
  isFinalized: boolean
  polls: number
  issued: Issued | null
}

/** How the CA is: each may be changed while it runs. */
export interface AcmeBehaviour {
  /** Milliseconds since 1970. */
  now: () => number
  lifetimeMs: number
  /** What is at the place that a challenge of this token is about. */
  look: (token: string) => string | undefined
  /** Answers in the server's place. */
  intercept: (request: AcmeRequest) => Reply | null
  /** So many nonces are refused. */
  badNonces: number
  /** So often an authorization is still pending, an order still processing. */
  pendingPolls: number
  processingPolls: number
  retryAfter: string | null
  /** Names that were shown to be ours some time ago. */
  authorized: readonly string[]
  profiles: Readonly<Record<string, string>> | null
  externalAccounts: Readonly<Record<string, string>> | null
  /** Answer of renewalInfo; null: there is none in the directory. */
  renewalInfo: ((id: string) => Reply) | null
  /** Names in certificates; null: those that were ordered. */
  issuedNames: readonly string[] | null
}

const CHALLENGES = ['http-01', 'dns-01', 'tls-alpn-01']
const URN = 'urn:ietf:params:acme:error:'
const DAY_MS = 86_400_000

/** A CA that speaks ACME (RFC 8555, 9773) over HTTPS, checks what it is sent and issues certificates, as well or badly as the test wants. */
export class AcmeServer implements AsyncDisposable {
  readonly behaviour: AcmeBehaviour = {
    now: Date.now,
    lifetimeMs: 90 * DAY_MS,
    look: () => undefined,
    intercept: () => null,
    badNonces: 0,
    pendingPolls: 0,
    processingPolls: 0,
    retryAfter: null,
    authorized: [],
    profiles: null,
    externalAccounts: null,
    renewalInfo: null,
    issuedNames: null,
  }
  readonly requests: AcmeRequest[] = []
  /** By their number; delete() makes one gone. */
  readonly accounts = new Map<number, Account>()
  readonly orders: Order[] = []
  /** PEM file with the root of the server's own certificate. */
  readonly caFile: string
  readonly issuer: AcmeIssuer
  readonly #server: Server
  readonly #folder: string
  readonly #nonces = new Set<string>()
  readonly #authorizations: Authorization[] = []
  #count = 0

  static async start(): Promise<AcmeServer> {
    const folder = mkdtempSync(join(tmpdir(), 'atlas-acme-'))
    const ca = await openLocalCa({ stateDir: folder, names: ['localhost'], addresses: ['127.0.0.1'], subdomainsOf: [], now: Date.now() })
    const server = createServer({ cert: ca.identity.chainPem, key: ca.identity.keyPem })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new AcmeServer(server, { folder, caFile: ca.caPath, issuer: await AcmeIssuer.create() })
  }

  private constructor(server: Server, { folder, caFile, issuer }: { folder: string; caFile: string; issuer: AcmeIssuer }) {
    this.#server = server
    this.#folder = folder
    this.caFile = caFile
    this.issuer = issuer
    server.on('request', (request, response) => void this.#serve(request, response))
  }

  get origin(): string {
    return `https://localhost:${(this.#server.address() as AddressInfo).port}`
  }

  get directory(): string {
    return `${this.origin}/directory`
  }

  count(resource: string): number {
    return this.requests.filter((request) => request.resource === resource).length
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
    rmSync(this.#folder, { recursive: true })
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(chunk as Buffer)
    const path = incoming.url ?? ''
    let reply: Reply
    try {
      reply = await this.#answer({ incoming, path, body: Buffer.concat(chunks).toString() })
    } catch (error) {
      reply = error instanceof Refused ? error.reply : problem('serverInternal', { status: 500, detail: String(error) })
    }
    const nonce = `nonce-${++this.#count}`
    this.#nonces.add(nonce)
    const { status, headers = {}, body = '' } = reply
    response.writeHead(status, { 'replay-nonce': nonce, ...headers })
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  }

  async #answer({ incoming, path, body }: { incoming: IncomingMessage; path: string; body: string }): Promise<Reply> {
    const { method = '' } = incoming
    const resource = resourceOf(path)
    const jws = method === 'POST' ? (JSON.parse(body) as Jws) : null
    const payload = jws === null ? undefined : payloadOf(jws)
    const request = { resource, path, method, payload, userAgent: incoming.headers['user-agent'] ?? '' }
    if (jws !== null && this.behaviour.badNonces > 0) {
      this.behaviour.badNonces--
      return problem('badNonce', { status: 400, detail: 'try another one' })
    }
    this.requests.push(request)
    const intercepted = this.behaviour.intercept(request)
    if (intercepted !== null) return intercepted
    if (jws === null) return this.#open(resource, path)
    assert.equal(incoming.headers['content-type'], 'application/jose+json')
    const header = headerOf(jws)
    assert.equal(header.url, this.origin + path)
    if (!this.#nonces.delete(header.nonce ?? '')) throw new Refused(problem('badNonce', { status: 400, detail: 'unknown nonce' }))
    if (resource === 'newAccount') return this.#newAccount(jws, header)
    const account = this.#accountOf(jws, header)
    return this.#authenticated(request, account)
  }

  /** What needs no account. */
  #open(resource: string, path: string): Reply {
    const { renewalInfo, profiles } = this.behaviour
    if (resource === 'newNonce') return { status: 200 }
    if (resource === 'renewalInfo' && renewalInfo !== null) return renewalInfo(path.slice('/renewal-info/'.length))
    assert.equal(resource, 'directory')
    const urls = Object.entries(PATHS).map(([path, name]) => [name, this.origin + path])
    return {
      status: 200,
      body: {
        ...Object.fromEntries(urls),
        ...(renewalInfo !== null && { renewalInfo: `${this.origin}/renewal-info` }),
        meta: { termsOfService: `${this.origin}/terms`, ...(profiles !== null && { profiles }) },
      },
    }
  }

  #newAccount(jws: Jws, { jwk = {} }: JwsHeader): Reply {
    assert.ok(isSignedBy(jws, publicKeyOf(jwk)))
    const { onlyReturnExisting, contact, termsOfServiceAgreed, externalAccountBinding } = payloadOf(jws) as Record<string, unknown>
    const known = [...this.accounts].find(([, account]) => thumbprint(account.jwk) === thumbprint(jwk))?.[0]
    if (known !== undefined) return { status: 200, headers: { location: `${this.origin}/account/${known}` }, body: {} }
    if (onlyReturnExisting === true) return problem('accountDoesNotExist', { status: 400, detail: 'no such account' })
    assert.equal(termsOfServiceAgreed, true)
    const { externalAccounts } = this.behaviour
    if (externalAccounts !== null) {
      const binding = externalAccountBinding as Jws | undefined
      const secret = binding === undefined ? undefined : externalAccounts[headerOf(binding).kid ?? '']
      const isBound = binding !== undefined && secret !== undefined && isBoundBy(binding, secret)
      if (!isBound) return problem('externalAccountRequired', { status: 403, detail: 'who are you?' })
      assert.equal(thumbprint(payloadOf(binding) as JsonWebKey), thumbprint(jwk))
    }
    const number = ++this.#count
    this.accounts.set(number, { jwk, contact: contact as string[] })
    return { status: 201, headers: { location: `${this.origin}/account/${number}` }, body: { status: 'valid' } }
  }

  #accountOf(jws: Jws, { kid = '' }: JwsHeader): Account {
    const account = this.accounts.get(Number(kid.split('/').at(-1)))
    if (account === undefined) throw new Refused(problem('accountDoesNotExist', { status: 400, detail: 'no such account' }))
    assert.ok(isSignedBy(jws, publicKeyOf(account.jwk)))
    return account
  }

  async #authenticated({ resource, path, payload }: AcmeRequest, account: Account): Promise<Reply> {
    const number = Number(path.split('/')[2])
    switch (resource) {
      case 'account':
        if (payload !== undefined) account.contact = (payload as { contact: string[] }).contact
        return { status: 200, body: { status: 'valid' } }
      case 'keyChange':
        return this.#keyChange(payload as Jws, account)
      case 'newOrder':
        return this.#newOrder(payload as Record<string, unknown>)
      case 'authorization':
        return this.#showAuthorization(number)
      case 'challenge':
        return this.#challenge(number, account)
      case 'order':
        return this.#showOrder(number)
      case 'finalize':
        return this.#finalize(number, payload as { csr: string })
      case 'certificate': {
        const link = `<${this.origin}/alternate/${number}>;rel="alternate"`
        return { status: 200, headers: { link }, body: this.orders[number]?.issued?.chain }
      }
      case 'alternate':
        return { status: 200, body: this.orders[number]?.issued?.alternate }
      default:
        return problem('malformed', { status: 404, detail: `no ${path}` })
    }
  }

  #keyChange(inner: Jws, account: Account): Reply {
    const { jwk = {}, url, nonce } = headerOf(inner)
    const { oldKey } = payloadOf(inner) as { oldKey: JsonWebKey }
    assert.ok(isSignedBy(inner, publicKeyOf(jwk)))
    assert.deepEqual([url, nonce, thumbprint(oldKey)], [`${this.origin}/key-change`, undefined, thumbprint(account.jwk)])
    account.jwk = jwk
    return { status: 200, body: { status: 'valid' } }
  }

  #newOrder({ identifiers, profile }: Record<string, unknown>): Reply {
    const wanted = identifiers as Identifier[]
    const { authorized, pendingPolls, processingPolls } = this.behaviour
    const authorizations = wanted.map(({ type, value }) => {
      const bare = value.replace(/^\*\./, '')
      const status = authorized.includes(value) ? 'valid' : 'pending'
      const token = `token-${++this.#count}`
      const identifier = { type, value: bare }
      return this.#authorizations.push({ identifier, isWildcard: bare !== value, token, status, error: undefined, polls: pendingPolls }) - 1
    })
    const number =
      this.orders.push({ identifiers: wanted, authorizations, profile, isFinalized: false, polls: processingPolls, issued: null }) - 1
    return { ...this.#showOrder(number), status: 201, headers: { location: `${this.origin}/order/${number}` } }
  }

  #showOrder(number: number): Reply {
    const order = this.orders[number]
    if (order === undefined) return problem('malformed', { status: 404, detail: 'no such order' })
    const states = order.authorizations.map((each) => this.#authorizations[each]?.status)
    const isUnderWay = order.isFinalized && order.polls-- > 0
    const ownStatus = states.every((status) => status === 'valid') ? 'ready' : 'pending'
    const finalized = isUnderWay ? 'processing' : 'valid'
    const status = states.includes('invalid') ? 'invalid' : order.isFinalized ? finalized : ownStatus
    return {
      status: 200,
      headers: this.#retryAfter,
      body: {
        status,
        identifiers: order.identifiers,
        authorizations: order.authorizations.map((each) => `${this.origin}/authorization/${each}`),
        finalize: `${this.origin}/finalize/${number}`,
        ...(status === 'valid' && { certificate: `${this.origin}/certificate/${number}` }),
      },
    }
  }

  #showAuthorization(number: number): Reply {
    const { identifier, isWildcard, token, status, error, ...rest } = this.#authorizations[number] ?? assert.fail()
    const shown = status === 'pending' || rest.polls <= 0 ? status : 'pending'
    if (status !== 'pending') (this.#authorizations[number] ?? assert.fail()).polls--
    const challenges = CHALLENGES.map((type) => ({ type, token, status: 'pending', url: `${this.origin}/challenge/${number}`, error }))
    return {
      status: 200,
      headers: this.#retryAfter,
      body: { identifier, status: shown, challenges, ...(isWildcard && { wildcard: true }) },
    }
  }

  #challenge(number: number, account: Account): Reply {
    const authorization = this.#authorizations[number] ?? assert.fail()
    const isMet = this.behaviour.look(authorization.token) === `${authorization.token}.${thumbprint(account.jwk)}`
    authorization.status = isMet ? 'valid' : 'invalid'
    if (!isMet) authorization.error = { type: `${URN}unauthorized`, detail: 'found\u001b[31m nothing\nthere', status: 403 }
    return { status: 200, body: { type: 'http-01', status: 'processing', url: `${this.origin}/challenge/${number}` } }
  }

  async #finalize(number: number, { csr }: { csr: string }): Promise<Reply> {
    const order = this.orders[number] ?? assert.fail()
    const der = Buffer.from(csr, 'base64url')
    const names = order.identifiers.map(({ value }) => value)
    const asked = await AcmeIssuer.namesIn(der)
    if (names.toSorted().join() !== asked.toSorted().join()) return problem('badCSR', { status: 400, detail: `names ${asked.join()}` })
    const { now, lifetimeMs, issuedNames } = this.behaviour
    order.issued = await this.issuer.issue(der, { names: issuedNames ?? names, from: now(), until: now() + lifetimeMs })
    order.isFinalized = true
    return this.#showOrder(number)
  }

  get #retryAfter(): Record<string, string> {
    return this.behaviour.retryAfter === null ? {} : { 'retry-after': this.behaviour.retryAfter }
  }
}

/** An error as a CA reports it (RFC 8555 §6.7). */
export function problem(type: string, { status, detail, ...more }: { status: number; detail: string; [more: string]: unknown }): Reply {
  const headers = { 'content-type': 'application/problem+json' }
  return { status, headers, body: { type: `${URN}${type}`, detail, ...more } }
}

class Refused extends Error {
  readonly reply: Reply

  constructor(reply: Reply) {
    super('refused')
    this.reply = reply
  }
}

const PATHS: Readonly<Record<string, string>> = {
  '/new-nonce': 'newNonce',
  '/new-account': 'newAccount',
  '/new-order': 'newOrder',
  '/key-change': 'keyChange',
}

function resourceOf(path: string): string {
  if (path.startsWith('/renewal-info/')) return 'renewalInfo'
  return PATHS[path] ?? path.split('/')[1] ?? ''
}
