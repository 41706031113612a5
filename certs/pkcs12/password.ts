import { hash, pbkdf2 } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { promisify } from 'node:util'

/** RFC 7292 appendix B.3: what the octets are for. */
export const FOR_KEY = 1
export const FOR_IV = 2
export const FOR_MAC = 3

export interface Derivation {
  /** As Node calls it. */
  readonly digest: string
  readonly salt: Uint8Array
  readonly iterations: number
  /** Octets that are wanted. */
  readonly length: number
}

/** Of one container, together: five seconds of PBKDF2, half a minute of the older way. OpenSSL takes 2,048 a time, NSS 600,000. */
const MAX_ITERATIONS = 10_000_000
/** Iterations in a row, some 50 ms; then others have their turn. */
const TURN = 16_384

/** A password of one container, and what is made of it. Methods throw an Error whose message is the bare reason. */
export class Password {
  readonly #text: string
  readonly #bmp: Buffer
  #left = MAX_ITERATIONS

  private constructor(text: string, bmp: Buffer) {
    this.#text = text
    this.#bmp = bmp
  }

  /** In the order in which they are to be tried: the empty one has two forms in the field, with its terminator and without. */
  static formsOf(text: string): readonly Password[] {
    const bmp = Buffer.from(`${text}\0`, 'utf16le').swap16() // RFC 7292 appendix B.1: BMPString, NUL at the end
    return [new Password(text, bmp), ...(text === '' ? [new Password(text, Buffer.alloc(0))] : [])]
  }

  /** RFC 8018 §5.2. The password is UTF-8. */
  async pbkdf2({ digest, salt, iterations, length }: Derivation): Promise<Buffer> {
    this.#spend(iterations)
    return promisify(pbkdf2)(this.#text, salt, iterations, length, digest)
  }

  /** RFC 7292 appendix B.2. */
  async pkcs12(purpose: number, { digest, salt, iterations, length }: Derivation): Promise<Buffer> {
    const block = BLOCK_OCTETS[digest] ?? 0
    const diversifier = Buffer.alloc(block, purpose)
    const input = Buffer.concat([repeated(salt, block), repeated(this.#bmp, block)])
    const made: Buffer[] = []
    for (let octets = 0; octets < length; ) {
      this.#spend(iterations)
      let part = Buffer.concat([diversifier, input])
      for (let i = 0; i < iterations; i++) {
        part = hash(digest, part, 'buffer')
        if (i % TURN === TURN - 1) await turn()
      }
      made.push(part)
      octets += part.length
      const summand = repeated(part, block).subarray(0, block)
      for (let at = 0; at < input.length; at += block) addOne(input.subarray(at, at + block), summand)
    }
    return Buffer.concat(made).subarray(0, length)
  }

  #spend(iterations: number): void {
    this.#left -= iterations
    if (Number.isSafeInteger(iterations) && iterations > 0 && this.#left >= 0) return
    throw new Error(`its password is hashed ${iterations} times, and no more than ${MAX_ITERATIONS} in all are accepted`)
  }
}

/** Of the input of a hash. */
const BLOCK_OCTETS: Readonly<Record<string, number>> = { sha1: 64, sha224: 64, sha256: 64, sha384: 128, sha512: 128 }

/** As often as fills whole blocks; nothing of nothing. */
function repeated(octets: Uint8Array, block: number): Buffer {
  return octets.length === 0 ? Buffer.alloc(0) : Buffer.alloc(Math.ceil(octets.length / block) * block, octets)
}

/** `number` + `summand` + 1, big-endian; what is carried out of it is lost (step 6 C). */
function addOne(number: Buffer, summand: Buffer): void {
  let carry = 1
  for (let i = number.length - 1; i >= 0; i--) {
    carry += (number[i] ?? 0) + (summand[i] ?? 0)
    number[i] = carry & 0xff
    carry >>>= 8
  }
}
