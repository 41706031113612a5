import { createHmac, timingSafeEqual } from 'node:crypto'
import { putU16, putU32, u16, u32 } from '../../../dns/bytes.ts'
import { additionalCount } from '../../../dns/header.ts'
import { uint32 } from '../../../dns/local-answer.ts'
import { expandName, lower, MAX_NAME_LENGTH, skipName } from '../../../dns/name.ts'
import { parseNameText } from '../../../dns/text-name.ts'
import { type RecordPlace, readParts } from '../../../dns/text-parts.ts'
import { Class, Type } from '../../../dns/types.ts'
import type { TsigKey } from './tsig-key.ts'

/** RFC 8945 §3: what the error of a TSIG record says. */
export const TsigError = { BADSIG: 16, BADKEY: 17, BADTIME: 18, BADTRUNC: 22 } as const

/** RFC 8945 §10: seconds by which clocks may differ. */
const FUDGE_SECONDS = 300
const TIME_LENGTH = 6

/** What signs one record, as it stands in the record (RFC 8945 §4.2). */
interface Signature {
  /** Wire form, lower case. */
  readonly name: Uint8Array
  readonly algorithm: Uint8Array
  /** Seconds since 1970. */
  readonly time: number
  readonly fudge: number
  readonly mac: Uint8Array
  readonly originalId: number
  readonly error: number
  readonly other: Uint8Array
}

export interface SignedMessage {
  readonly message: Uint8Array
  readonly mac: Uint8Array
}

/** The message with a TSIG record behind it (RFC 8945 §5.1). `time`: seconds since 1970. */
export function signMessage(message: Uint8Array, key: TsigKey, time: number): SignedMessage {
  const signature = {
    name: key.name,
    algorithm: algorithmName(key),
    time,
    fudge: FUDGE_SECONDS,
    originalId: u16(message, 0),
    error: 0,
    other: new Uint8Array(0),
  }
  const mac = hmac(key, [message, variables(signature)])
  const signed = Uint8Array.of(...message, ...recordOf({ ...signature, mac }))
  putU16(signed, 10, additionalCount(message) + 1)
  return { message: signed, mac }
}

export interface Verified {
  /** 0: the server has accepted our signature. */
  readonly error: number
  /** Of a BADTIME: the server's clock, seconds since 1970 (RFC 8945 §5.2.3); null: it does not say. */
  readonly serverTime: number | null
}

/**
 * Verifies an answer to what was signed with `requestMac` (RFC 8945 §5.3). Throws an Error whose message is the bare reason. An error may
 * be unsigned: a server does not sign for somebody who may not have the key (§5.3.2), and nothing is done but to give up.
 */
export function verifyAnswer(
  answer: Uint8Array,
  { key, requestMac, time }: { key: TsigKey; requestMac: Uint8Array; time: number },
): Verified {
  const parts = readParts(answer)
  if (parts === null || parts.malformedAt >= 0) throw new Error('the answer is malformed')
  const record = parts.additionals.at(-1)
  if (record?.type !== Type.TSIG) throw new Error('the answer is not signed')
  const signature = readSignature(answer, record)
  if (signature === null || !equal(signature.name, key.name) || !equal(signature.algorithm, algorithmName(key)))
    throw new Error('the answer is signed with another key')
  const { error, mac } = signature
  const serverTime = error === TsigError.BADTIME && signature.other.length === TIME_LENGTH ? timeAt(signature.other, 0) : null
  if (mac.length === 0 && error !== 0) return { error, serverTime }
  const unsigned = answer.slice(0, record.owner)
  putU16(unsigned, 0, signature.originalId)
  putU16(unsigned, 10, additionalCount(answer) - 1)
  const length = new Uint8Array(2)
  putU16(length, 0, requestMac.length)
  // whole MACs only (RFC 8945 §5.2.2.1): we ask for no other
  if (!equal(mac, hmac(key, [length, requestMac, unsigned, variables(signature)]))) throw new Error('the signature of the answer is wrong')
  // §5.2.3; of a BADTIME the time is ours again
  if (Math.abs(signature.time - time) > signature.fudge)
    throw new Error(`the clocks differ by ${Math.abs(signature.time - time)} s: the answer is signed for another time`)
  return { error, serverTime }
}

function algorithmName({ algorithm }: TsigKey): Uint8Array {
  return parseNameText(algorithm) ?? new Uint8Array(0)
}

function hmac({ algorithm, secret }: TsigKey, parts: readonly Uint8Array[]): Uint8Array {
  const digest = createHmac(algorithm.slice('hmac-'.length), secret)
  for (const part of parts) digest.update(part)
  return digest.digest()
}

/** RFC 8945 §4.3.3. */
function variables({ name, algorithm, time, fudge, error, other }: Omit<Signature, 'mac' | 'originalId'>): Uint8Array {
  return Uint8Array.of(
    ...name,
    ...uint16(Class.ANY),
    ...uint32(0),
    ...algorithm,
    ...uint48(time),
    ...uint16(fudge),
    ...uint16(error),
    ...uint16(other.length),
    ...other,
  )
}

/** RFC 8945 §4.2. */
function recordOf({ name, algorithm, time, fudge, mac, originalId, error, other }: Signature): Uint8Array {
  const rdata = [
    ...algorithm,
    ...uint48(time),
    ...uint16(fudge),
    ...uint16(mac.length),
    ...mac,
    ...uint16(originalId),
    ...uint16(error),
    ...uint16(other.length),
    ...other,
  ]
  return Uint8Array.of(...name, ...uint16(Type.TSIG), ...uint16(Class.ANY), ...uint32(0), ...uint16(rdata.length), ...rdata)
}

/** Null: it is malformed. */
function readSignature(message: Uint8Array, { owner, class: klass, rdata, end }: RecordPlace): Signature | null {
  const timeStart = skipName(message, rdata, end)
  const macStart = timeStart + TIME_LENGTH + 4
  if (timeStart < 0 || macStart > end || klass !== Class.ANY) return null
  const macEnd = macStart + u16(message, macStart - 2)
  const otherStart = macEnd + 6
  if (otherStart > end || otherStart + u16(message, macEnd + 4) !== end) return null
  return {
    name: nameAt(message, owner),
    algorithm: nameAt(message, rdata),
    time: timeAt(message, timeStart),
    fudge: u16(message, timeStart + TIME_LENGTH),
    mac: message.slice(macStart, macEnd),
    originalId: u16(message, macEnd),
    error: u16(message, macEnd + 2),
    other: message.slice(otherStart, end),
  }
}

function nameAt(message: Uint8Array, at: number): Uint8Array {
  const name = new Uint8Array(MAX_NAME_LENGTH)
  return name.slice(0, expandName(message, at, name, 0)).map(lower)
}

/** 48 bits (RFC 8945 §4.2). */
function timeAt(bytes: Uint8Array, at: number): number {
  return u16(bytes, at) * 2 ** 32 + u32(bytes, at + 2)
}

function uint16(value: number): Uint8Array {
  const octets = new Uint8Array(2)
  putU16(octets, 0, value)
  return octets
}

function uint48(value: number): Uint8Array {
  const octets = new Uint8Array(TIME_LENGTH)
  putU16(octets, 0, Math.floor(value / 2 ** 32))
  putU32(octets, 2, value % 2 ** 32)
  return octets
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}
