import { isIpv4 } from '../dns/address.ts'
import { putU16, u8 } from '../dns/bytes.ts'
import { type Endpoint, parseAddress } from '../net/address.ts'

const VERSION = 5
const NO_AUTHENTICATION = 0
const NO_ACCEPTABLE_METHOD = 0xff
const CONNECT = 1
const AddressType = { IPV4: 1, NAME: 3, IPV6: 4 } as const
/** VER, REP, RSV, ATYP, and one octet more, which says how long a name is. */
const REPLY_HEAD = 5
/** A reply with the longest name. */
const MAX_REPLY = REPLY_HEAD + 255 + 2

/** RFC 1928 §6, by reply code. */
const REPLIES: readonly string[] = [
  'succeeded',
  'general SOCKS server failure',
  'connection not allowed by ruleset',
  'network unreachable',
  'host unreachable',
  'connection refused',
  'TTL expired',
  'command not supported',
  'address type not supported',
]

/** What is to be done next: send this, wait for more, use the connection, or give it up for a reason. */
export type SocksStep =
  | { readonly kind: 'send'; readonly bytes: Uint8Array }
  | { readonly kind: 'wait' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'refused'; readonly reason: string }

const WAIT: SocksStep = Object.freeze({ kind: 'wait' })
const READY: SocksStep = Object.freeze({ kind: 'ready' })

/** A client's part of SOCKS5 (RFC 1928) up to the connection with `target`, without authentication. Sans-IO; what it keeps is bounded. */
export class SocksHandshake {
  readonly greeting: Uint8Array = Uint8Array.of(VERSION, 1, NO_AUTHENTICATION)
  readonly #target: Endpoint
  readonly #input = new Uint8Array(MAX_REPLY)
  #length = 0
  /** Whether the proxy has chosen the method, so that what comes is its reply. */
  #isAsked = false

  constructor(target: Endpoint) {
    this.#target = target
  }

  /** Takes octets of the proxy. Until it has been asked it has nothing to say, and the server behind it neither. */
  push(chunk: Uint8Array): SocksStep {
    if (chunk.length > MAX_REPLY - this.#length) return refused('it sends more than a reply')
    this.#input.set(chunk, this.#length)
    this.#length += chunk.length
    if (this.#length === 0) return WAIT
    if (u8(this.#input, 0) !== VERSION) return refused('it does not speak SOCKS5')
    return this.#isAsked ? this.#readReply() : this.#readMethod()
  }

  #readMethod(): SocksStep {
    if (this.#length < 2) return WAIT
    const method = u8(this.#input, 1)
    if (method === NO_ACCEPTABLE_METHOD) return refused('it wants authentication')
    if (method !== NO_AUTHENTICATION || this.#length > 2) return refused('its choice of a method is malformed')
    this.#length = 0
    this.#isAsked = true
    return { kind: 'send', bytes: connectRequest(this.#target) }
  }

  #readReply(): SocksStep {
    if (this.#length < 2) return WAIT
    const code = u8(this.#input, 1)
    // not every proxy sends the rest of it when it refuses
    if (code !== 0) return refused(REPLIES[code] ?? `reply code ${code}`)
    if (this.#length < REPLY_HEAD) return WAIT
    const length = replyLength(this.#input)
    if (length < 0 || this.#length > length) return refused('its reply is malformed')
    return this.#length === length ? READY : WAIT
  }
}

function refused(reason: string): SocksStep {
  return { kind: 'refused', reason }
}

/** RFC 1928 §4: the address, never a name: who resolves names does not ask others to. */
function connectRequest({ host, port }: Endpoint): Uint8Array {
  const octets = parseAddress(host) ?? new Uint8Array(16)
  const [type, address] = isIpv4(octets) ? ([AddressType.IPV4, octets.subarray(12)] as const) : ([AddressType.IPV6, octets] as const)
  const request = new Uint8Array(4 + address.length + 2)
  request.set([VERSION, CONNECT, 0, type])
  request.set(address, 4)
  putU16(request, 4 + address.length, port)
  return request
}

/** -1: the type of the address is unknown. */
function replyLength(reply: Uint8Array): number {
  const type = u8(reply, 3)
  if (type === AddressType.IPV4) return 4 + 4 + 2
  if (type === AddressType.IPV6) return 4 + 16 + 2
  return type === AddressType.NAME ? REPLY_HEAD + u8(reply, 4) + 2 : -1
}
