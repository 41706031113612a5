import { isIP } from 'node:net'
import { Failure } from '../../dns/failure.ts'
import { Flag, flagsOf, HEADER_LENGTH, MAX_MESSAGE_LENGTH } from '../../dns/header.ts'
import { tokenPath } from '../../net/token.ts'
import type { WebServer } from '../web/exchange.ts'
import { decodeBase64url } from './base64url.ts'
import type { TrustedProxies } from './forwarded.ts'
import { isJsonForm, messageOfForm } from './json-form.ts'
import { parameters } from './parameters.ts'

/** RFC 8484 §6. */
export const MEDIA_TYPE = 'application/dns-message'
/** Header section, octets as RFC 9113 §10.5.1 counts them; longer messages use POST (design §4). */
export const MAX_HEADER_LENGTH = 16_384

/** What a request says before its content, in the same form from every HTTP version. Absent fields are empty. */
export interface RequestHead {
  readonly method: string
  /** RFC 9112 §3.2: origin-form, absolute-form or "*". */
  readonly target: string
  /** Host or :authority, with or without port. */
  readonly authority: string
  readonly contentType: string
  readonly contentEncoding: string
  /** NO_CONTENT_LENGTH when it is not said. */
  readonly contentLength: number
  readonly accept: string
  /** X-Forwarded-For and Forwarded (RFC 7239); several lines joined with commas. */
  readonly forwardedFor: string
  readonly forwarded: string
  /** RFC 8470 §5.1. */
  readonly earlyData: string
  /** RFC 8441 §4. */
  readonly protocol: string
}

/** A CA of our own. */
export interface OfferedCa {
  readonly pem: string
  /** SHA-256, hex pairs with colons. */
  readonly fingerprint: string
  /** What it can vouch for. */
  readonly names: readonly string[]
}

/** Where its certificate is. */
export const CA_PATH = '/ca.pem'

export interface DohOffer {
  /** Paths on which DNS is served, compared octet by octet (conformance DOH-30). */
  readonly paths: readonly string[]
  /** Whether a token may follow a path, as its last segment. */
  readonly takesTokens: boolean
  /** Whether GET with a name instead of a message is answered in JSON. */
  readonly json: boolean
  /** Whether "/" shows a page, unless DNS is served there. */
  readonly landing: boolean
  /** What the page offers to be trusted, at CA_PATH; null: nothing. */
  readonly localCa: OfferedCa | null
  /** Who may say for whom it asks. */
  readonly trustedProxies: TrustedProxies
}

export const NO_OFFER: DohOffer = Object.freeze({
  paths: [],
  takesTokens: false,
  json: false,
  landing: false,
  localCa: null,
  trustedProxies: { has: () => false },
})

/** What is served, and to whom. */
export class DohRules {
  readonly paths: ReadonlySet<string>
  readonly offer: DohOffer
  /** Whether we are the host of this name. */
  readonly covers: (host: string) => boolean
  /** Who has all other paths; null: nobody. */
  readonly web: WebServer | null
  /** How the target of a GET begins that RFC 8484 §4.1 asks for. */
  readonly #plain: readonly string[]
  /** What a token follows. */
  readonly #prefixes: readonly string[]

  constructor(offer: DohOffer, { covers, web }: { covers: (host: string) => boolean; web: WebServer | null }) {
    this.offer = offer
    this.paths = new Set(offer.paths)
    this.covers = covers
    this.web = web
    this.#plain = offer.paths.map((path) => `${path}?dns=`)
    this.#prefixes = offer.takesTokens ? offer.paths.map((path) => tokenPath(path, '')) : []
  }

  /** The token in a path of ours, '' where it has none; null: it is no path of ours. */
  tokenIn(path: string): string | null {
    if (this.paths.has(path)) return ''
    const prefix = this.#prefixes.find((each) => path.startsWith(each) && !path.includes('/', each.length))
    return prefix === undefined || prefix.length === path.length ? null : path.slice(prefix.length)
  }

  /** The message of a target without anything unusual, as nearly all are; null when it needs a closer look. */
  messageOf(target: string): Uint8Array | null {
    for (const plain of this.#plain) if (target.startsWith(plain)) return decodeBase64url(target, plain.length)
    return null
  }
}

/** What to do with a request: refuse it, list the methods, show the page or the CA's certificate, give it to the proxy, read the content, or ask this message. */
export type RequestPlan =
  | { readonly kind: 'failure'; readonly failure: Failure; readonly allow: string }
  | { readonly kind: 'options'; readonly allow: string }
  | { readonly kind: 'landing'; readonly authority: string }
  | { readonly kind: 'ca'; readonly ca: OfferedCa }
  | { readonly kind: 'forward'; readonly web: WebServer; readonly authority: string; readonly target: string }
  | QuestionPlan

/** `token`: what its path said, '' for nothing. */
export type QuestionPlan =
  | { readonly kind: 'content'; readonly token: string }
  | { readonly kind: 'message' | 'json'; readonly message: Uint8Array; readonly token: string }

/** RFC 9110 §10.2.1. */
export const ALLOW = 'GET, HEAD, POST, OPTIONS'
const ALLOW_PAGE = 'GET, HEAD, OPTIONS'
const OPTIONS: RequestPlan = { kind: 'options', allow: ALLOW }
const fail = (failure: Failure, allow = ALLOW): RequestPlan => ({ kind: 'failure', failure, allow })

/** RFC 9110 §9 and RFC 5789: known, but not served. */
const OTHER_METHODS = new Set(['PUT', 'DELETE', 'TRACE', 'PATCH', 'CONNECT'])

/** Reads the head of a request (RFC 8484 §4.1, status codes of conformance §14.1). Sans-IO; a message is borrowed until the next call. */
export function planRequest(head: RequestHead, rules: DohRules): RequestPlan {
  const message = head.method === 'GET' ? rules.messageOf(head.target) : null
  const isPlain = message !== null && authorityFailure(head.authority, rules) === null && !isRefused(head.accept)
  return isPlain ? { kind: 'message', message, token: '' } : planAny(head, rules)
}

function planAny(head: RequestHead, rules: DohRules): RequestPlan {
  // RFC 9113 §8.5: it has no target, and this is no such proxy
  if (head.method === 'CONNECT' && head.protocol === '') return fail(Failure.http_method)
  const target = splitTarget(head)
  if (target === null) return fail(Failure.http_bad_request)
  // RFC 9112 §3.2.2: the authority of an absolute target counts instead of Host
  const authority = target.authority ?? head.authority
  const failure = authorityFailure(authority, rules)
  if (failure !== null) return fail(failure)
  if (head.method === 'OPTIONS' && target.path === '*') return OPTIONS
  const token = rules.tokenIn(target.path)
  if (token === null) {
    if (rules.web !== null) return { kind: 'forward', web: rules.web, authority, target: target.raw }
    const page = pageAt(target.path, authority, rules)
    return page === null ? fail(Failure.http_path) : planPage(head.method, page)
  }
  switch (head.method) {
    case 'GET':
    case 'HEAD':
      return isRefused(head.accept) ? fail(Failure.http_not_acceptable) : planGet(target.query, token, rules)
    case 'POST':
      return isRefused(head.accept) ? fail(Failure.http_not_acceptable) : planPost(head, token)
    case 'OPTIONS':
      return OPTIONS
    default:
      return fail(OTHER_METHODS.has(head.method) ? Failure.http_method : Failure.http_unknown_method)
  }
}

/** Null: we are who is asked. */
function authorityFailure(authority: string, rules: DohRules): Failure | null {
  const host = lastHost.of(authority)
  if (host === null) return Failure.http_bad_request
  // RFC 9462 §6.3: a client that found us by address asks for that address
  return lastHost.isAddress || rules.covers(host) ? null : Failure.http_authority
}

/** The failure of a message that cannot be answered in DNS, null when it can (conformance DOH-08). */
export function messageFailure(message: Uint8Array): Failure | null {
  if (message.length < HEADER_LENGTH) return Failure.message_too_short
  return (flagsOf(message) & Flag.QR) === 0 ? null : Failure.not_a_query
}

function pageAt(path: string, authority: string, { offer: { landing, localCa } }: DohRules): RequestPlan | null {
  if (!landing) return null
  if (path === '/') return { kind: 'landing', authority }
  return path === CA_PATH && localCa !== null ? { kind: 'ca', ca: localCa } : null
}

function planPage(method: string, page: RequestPlan): RequestPlan {
  if (method === 'GET' || method === 'HEAD') return page
  if (method === 'OPTIONS') return { kind: 'options', allow: ALLOW_PAGE }
  return fail(method === 'POST' || OTHER_METHODS.has(method) ? Failure.http_method : Failure.http_unknown_method, ALLOW_PAGE)
}

function planGet(query: string, token: string, rules: DohRules): RequestPlan {
  if (rules.offer.json && isJsonForm(query)) {
    const asked = messageOfForm(query)
    return asked === null ? fail(Failure.http_parameters) : { kind: 'json', message: asked, token }
  }
  const values = parameters(query, 'dns')
  const [value] = values
  if (values.length !== 1 || value === undefined || value === '') return fail(Failure.http_bad_request)
  // 65,535 octets are 87,380 characters
  if (value.length > Math.ceil((MAX_MESSAGE_LENGTH * 4) / 3)) return fail(Failure.http_uri_too_long)
  const decoded = decodeBase64url(value, 0)
  return decoded === null ? fail(Failure.http_bad_request) : { kind: 'message', message: decoded, token }
}

function planPost(head: RequestHead, token: string): RequestPlan {
  if (head.contentType !== MEDIA_TYPE && mediaTypeOf(head.contentType) !== MEDIA_TYPE) return fail(Failure.http_media_type)
  const coding = head.contentEncoding.trim().toLowerCase()
  if (coding !== '' && coding !== 'identity') return fail(Failure.http_content_coding)
  return head.contentLength > MAX_MESSAGE_LENGTH ? fail(Failure.http_body_too_large) : { kind: 'content', token }
}

/** RFC 9110 §8.3.1: without its parameters. */
function mediaTypeOf(contentType: string): string {
  const [type = ''] = contentType.split(';')
  return type.trim().toLowerCase()
}

interface Target {
  /** Null: it names none. */
  readonly authority: string | null
  readonly path: string
  readonly query: string
  /** Path and query as they were. */
  readonly raw: string
}

function splitTarget({ target, method }: RequestHead): Target | null {
  if (target.startsWith('/') && !target.includes('?')) return { authority: null, path: target, query: '', raw: target }
  const absolute = target.startsWith('/') ? null : /^https?:\/\/([^/?#]*)([^#]*)$/i.exec(target)
  const authority = absolute?.[1] ?? null
  const rest = absolute === null ? target : pathOf(absolute[2] ?? '', method)
  if (rest !== '*' && !rest.startsWith('/')) return null
  const mark = rest.indexOf('?')
  return { authority, path: mark < 0 ? rest : rest.slice(0, mark), query: mark < 0 ? '' : rest.slice(mark + 1), raw: rest }
}

/** RFC 9112 §3.2.4, RFC 9110 §4.2.3: what an empty path stands for. */
function pathOf(rest: string, method: string): string {
  if (rest === '') return method === 'OPTIONS' ? '*' : '/'
  return rest.startsWith('?') ? `/${rest}` : rest
}

/** The host of an authority, which is the same in nearly all requests. */
class LastHost {
  /** Whether it is an address. */
  isAddress = false
  #authority: string | null = null
  #host: string | null = null

  /** Without port and brackets, in lower case; null when it is malformed or has user information. */
  of(authority: string): string | null {
    if (authority === this.#authority) return this.#host
    const match = /^(?:\[([0-9a-f:.]+)\]|([^\s@:[\]/?#]+))(?::\d{1,5})?$/i.exec(authority)
    this.#authority = authority
    this.#host = (match?.[1] ?? match?.[2])?.toLowerCase() ?? null
    this.isAddress = isIP(this.#host ?? '') !== 0
    return this.#host
  }
}

const lastHost = new LastHost()

/** RFC 9110 §12.5.1 lets a server disregard Accept; only an explicit refusal of our one media type is heeded. */
function isRefused(accept: string): boolean {
  if (!accept.includes(';')) return false
  return accept
    .toLowerCase()
    .split(',')
    .some((range) => {
      const [type = '', ...rest] = range.split(';').map((part) => part.trim())
      return type === MEDIA_TYPE && rest.some((parameter) => /^q=0(\.0{0,3})?$/.test(parameter))
    })
}
