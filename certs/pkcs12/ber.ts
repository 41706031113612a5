import { AsnConvert } from '@peculiar/asn1-schema'
import { fromBER, OctetString } from 'asn1js'

/** As a schema has it: null and undefined where there is nothing. */
type Encoded = Uint8Array | ArrayBuffer | null | undefined

/** Throws an Error with `reason` as its message. */
export function parse<T>(encoded: Encoded, type: new () => T, reason = DAMAGED): T {
  try {
    return AsnConvert.parse(encoded ?? new Uint8Array(), type)
  } catch (error) {
    throw new Error(reason, { cause: error })
  }
}

/** Content of an OCTET STRING, also of one in parts (X.690 §8.7.3), as NSS and so Firefox writes them. Throws as `parse` does. */
export function octetString(encoded: Encoded): Uint8Array {
  try {
    const { result } = fromBER(encoded ?? new Uint8Array())
    if (result instanceof OctetString) return new Uint8Array(result.getValue())
  } catch (error) {
    throw new Error(DAMAGED, { cause: error })
  }
  throw new Error(DAMAGED)
}

export function octetsOf({ buffer }: { readonly buffer: ArrayBuffer }): Uint8Array {
  return new Uint8Array(buffer)
}

const DAMAGED = 'it is damaged'
