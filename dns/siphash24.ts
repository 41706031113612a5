import { putU32, u8, u32 } from './bytes.ts'

/** v0 to v3, the upper 32 bits of each before the lower. */
const v = new Uint32Array(8)
const V0 = 0
const V1 = 2
const V2 = 4
const V3 = 6

/**
 * SipHash-2-4 (Aumasson, Bernstein; https://github.com/veorq/SipHash) of the first `length` octets of `message`, with a key of 16
 * octets: eight octets, written at `at` in the order that RFC 9018 §4.4 wants.
 */
export function sipHash24(key: Uint8Array, message: Uint8Array, length: number, out: Uint8Array, at: number): void {
  const [k0, k0High, k1, k1High] = [little(key, 0), little(key, 4), little(key, 8), little(key, 12)]
  set(V0, k0High ^ 0x736f_6d65, k0 ^ 0x7073_6575)
  set(V1, k1High ^ 0x646f_7261, k1 ^ 0x6e64_6f6d)
  set(V2, k0High ^ 0x6c79_6765, k0 ^ 0x6e65_7261)
  set(V3, k1High ^ 0x7465_6462, k1 ^ 0x7974_6573)
  const whole = length - (length % 8)
  for (let i = 0; i < whole; i += 8) compress(little(message, i + 4), little(message, i))
  let last = 0
  let lastHigh = (length & 0xff) << 24
  for (let i = whole; i < length; i++) {
    const octet = u8(message, i)
    if (i - whole < 4) last |= octet << (8 * (i - whole))
    else lastHigh |= octet << (8 * (i - whole - 4))
  }
  compress(lastHigh, last)
  set(V2, v[V2] as number, (v[V2 + 1] as number) ^ 0xff)
  for (let i = 0; i < 4; i++) round()
  putLittle(out, at, both(1))
  putLittle(out, at + 4, both(0))
}

function compress(high: number, low: number): void {
  set(V3, (v[V3] as number) ^ high, (v[V3 + 1] as number) ^ low)
  round()
  round()
  set(V0, (v[V0] as number) ^ high, (v[V0 + 1] as number) ^ low)
}

function round(): void {
  add(V0, V1)
  rotate(V1, 13)
  mix(V1, V0)
  swap(V0)
  add(V2, V3)
  rotate(V3, 16)
  mix(V3, V2)
  add(V0, V3)
  rotate(V3, 21)
  mix(V3, V0)
  add(V2, V1)
  rotate(V1, 17)
  mix(V1, V2)
  swap(V2)
}

function set(to: number, high: number, low: number): void {
  v[to] = high
  v[to + 1] = low
}

/** A typed array takes each sum modulo 2^32. */
function add(to: number, from: number): void {
  const low = (v[to + 1] as number) + (v[from + 1] as number)
  set(to, (v[to] as number) + (v[from] as number) + (low > 0xffff_ffff ? 1 : 0), low)
}

/** By fewer than 32 bits. */
function rotate(of: number, bits: number): void {
  const high = v[of] as number
  const low = v[of + 1] as number
  set(of, (high << bits) | (low >>> (32 - bits)), (low << bits) | (high >>> (32 - bits)))
}

/** A rotation by 32 bits. */
function swap(of: number): void {
  set(of, v[of + 1] as number, v[of] as number)
}

function mix(to: number, from: number): void {
  set(to, (v[to] as number) ^ (v[from] as number), (v[to + 1] as number) ^ (v[from + 1] as number))
}

/** The exclusive or of all four, its upper (0) or lower (1) half. */
function both(half: number): number {
  return (v[V0 + half] as number) ^ (v[V1 + half] as number) ^ (v[V2 + half] as number) ^ (v[V3 + half] as number)
}

function little(bytes: Uint8Array, at: number): number {
  const big = u32(bytes, at)
  return ((big & 0xff) << 24) | ((big & 0xff00) << 8) | ((big >>> 8) & 0xff00) | (big >>> 24)
}

function putLittle(out: Uint8Array, at: number, value: number): void {
  putU32(out, at, ((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24))
}
