import { ADDRESS_LENGTH, IPV4_AT, isIpv4 } from './address.ts'
import { putU32, u8, u32 } from './bytes.ts'
import { sipHash24 } from './siphash24.ts'

/** RFC 7873 §4: what a client sends first; RFC 9018 §4: and what we add to it. */
export const CLIENT_COOKIE_LENGTH = 8
export const COOKIE_LENGTH = 24
/** RFC 9018 §4.4. */
export const COOKIE_SECRET_LENGTH = 16

const VERSION = 1
/** Of the whole option: where the server cookie has its version, its time and its hash (RFC 9018 §4). */
const VERSION_AT = 8
const TIME_AT = 12
const HASH_AT = 16
const HASH_LENGTH = 8
/** RFC 9018 §4.3, seconds: how old a cookie may be, how far in the future, and when it is made anew. */
const MAX_AGE = 3600
const MAX_AHEAD = 300
const RENEW_AGE = 1800

/** Client cookie, version, reserved, time, address: what is hashed. */
const hashed = new Uint8Array(HASH_AT + ADDRESS_LENGTH)
const hash = new Uint8Array(HASH_LENGTH)

/** Makes and checks the cookies of RFC 7873 as RFC 9018 §4 has them, so that several servers may have the same. */
export class ServerCookies {
  readonly #secrets: readonly Uint8Array[]

  /** Of 16 octets each: the first makes cookies, all others are still accepted (RFC 9018 §5). */
  constructor(secrets: readonly Uint8Array[]) {
    this.#secrets = secrets
  }

  /**
   * Looks at a COOKIE option's data, `length` octets of `wire` at `at`, which RFC 7873 §5.2.2 allows. `address`: the client's as 16
   * octets. `now`: seconds since 1970. `out`: takes the cookie to answer with, COOKIE_LENGTH octets.
   * True: it is ours for this address, and not old, so the client has received what was sent there.
   */
  check(
    { wire, at, length }: { wire: Uint8Array; at: number; length: number },
    address: Uint8Array,
    now: number,
    out: Uint8Array,
  ): boolean {
    for (let i = 0; i < CLIENT_COOKIE_LENGTH; i++) out[i] = u8(wire, at + i)
    if (length === COOKIE_LENGTH && u8(wire, at + VERSION_AT) === VERSION) {
      for (let i = CLIENT_COOKIE_LENGTH; i < COOKIE_LENGTH; i++) out[i] = u8(wire, at + i)
      // RFC 1982: the time has 32 bits
      const age = (now - u32(out, TIME_AT)) | 0
      const by = age <= MAX_AGE && age >= -MAX_AHEAD ? this.#madeBy(out, address) : -1
      if (by >= 0) {
        if (by > 0 || age > RENEW_AGE) this.#make(address, now, out)
        return true
      }
    }
    this.#make(address, now, out)
    return false
  }

  /** Index of the secret that `cookie` was made with; -1 for none. */
  #madeBy(cookie: Uint8Array, address: Uint8Array): number {
    const length = fill(cookie, address)
    for (let i = 0; i < this.#secrets.length; i++) {
      sipHash24(this.#secrets[i] as Uint8Array, hashed, length, hash, 0)
      if (isHash(cookie)) return i
    }
    return -1
  }

  /** Puts a server cookie behind the client's. */
  #make(address: Uint8Array, now: number, out: Uint8Array): void {
    out.fill(0, VERSION_AT, HASH_AT)
    out[VERSION_AT] = VERSION
    putU32(out, TIME_AT, now)
    sipHash24(this.#secrets[0] as Uint8Array, hashed, fill(out, address), out, HASH_AT)
  }
}

/** Octets to hash. RFC 9018 §4.2: what is reserved, as it came. */
function fill(cookie: Uint8Array, address: Uint8Array): number {
  hashed.set(cookie.subarray(0, HASH_AT))
  const from = isIpv4(address) ? IPV4_AT : 0
  hashed.set(address.subarray(from), HASH_AT)
  return HASH_AT + ADDRESS_LENGTH - from
}

/** In a time that does not depend on where they differ. */
function isHash(cookie: Uint8Array): boolean {
  let difference = 0
  for (let i = 0; i < HASH_LENGTH; i++) difference |= u8(cookie, HASH_AT + i) ^ u8(hash, i)
  return difference === 0
}
