import type { IncomingMessage } from 'node:http'
import { parseAddress } from '../../net/address.ts'
import { show } from '../config/problem.ts'
import type { Refusal } from './refusal.ts'

/** A name in presentation form with every octet escaped has 1,020 characters, percent-encoded three times as many. */
const MAX_TARGET_LENGTH = 4_096

export interface Target {
  /** Path and query, beginning with a single slash. */
  readonly origin: string
  /** Null: HTTP/1.0 without Host. */
  readonly authority: string | null
}

/** What a request is for (RFC 9112 §3.2), before anything looks at the path. */
export function readTarget({ url = '', headers, headersDistinct }: IncomingMessage): Target | Refusal {
  if (url.length > MAX_TARGET_LENGTH) return badTarget(`at most ${MAX_TARGET_LENGTH} characters`, url)
  if ((headersDistinct.host?.length ?? 0) > 1) {
    return { code: 'bad_request', message: 'expected one Host field: received several' }
  }
  const absolute = /^https?:\/\/([^/?#]*)(.*)$/i.exec(url)
  // RFC 9112 §3.2.2: the authority of an absolute target counts instead of Host
  const authority = absolute?.[1] ?? headers.host ?? null
  const origin = absolute === null ? url : absolute[2] || '/'
  // a path that others might read in another way than we do is not read at all
  if (!/^\/(?!\/)[!"$-[\]-~]*$/.test(origin))
    return badTarget('a path that begins with one slash, in visible ASCII without "\\" and "#"', url)
  return { origin, authority }
}

/**
 * Whether `authority` (RFC 9110 §4.2.3, with or without a port) is an IP address, "localhost" or one of `names`, which are in lower
 * case and without a dot at the end. A page in a browser that has its own name resolve to our address says that name here, and
 * so is kept out (DNS rebinding).
 */
export function isOwnAuthority(authority: string, names: ReadonlySet<string>): boolean {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::\d{0,5})?$/.exec(authority)
  if (match === null) return false
  const [, bracketed, host = ''] = match
  if (bracketed !== undefined) return bracketed.includes(':') && !bracketed.includes('%') && parseAddress(bracketed) !== null
  const name = host.toLowerCase().replace(/\.$/, '')
  return name === 'localhost' || names.has(name) || parseAddress(host) !== null
}

function badTarget(expected: string, url: string): Refusal {
  return { code: 'bad_request', message: `expected ${expected}: received ${show(url)}` }
}
