import { createDecipheriv } from 'node:crypto'
import { id_pbeWithSHAAnd3_KeyTripleDES_CBC } from '@peculiar/asn1-pfx'
import type { AlgorithmIdentifier } from '@peculiar/asn1-x509'
import { octetString, octetsOf, parse } from './ber.ts'
import { FOR_IV, FOR_KEY, type Password } from './password.ts'
import { ID_HMAC_WITH_SHA1, PbeParameters, Pbes2Parameters, Pbkdf2Parameters } from './schema.ts'

/** RFC 8018 appendix A.4, A.2. */
const ID_PBES2 = '1.2.840.113549.1.5.13'
const ID_PBKDF2 = '1.2.840.113549.1.5.12'

interface Cipher {
  readonly name: string
  readonly keyOctets: number
}

const TRIPLE_DES: Cipher = { name: 'des-ede3-cbc', keyOctets: 24 }
const DES_BLOCK_OCTETS = 8

/** RFC 8018 appendix B.2, RFC 3565 §4.1. */
const CIPHERS = new Map<string, Cipher>([
  ['2.16.840.1.101.3.4.1.2', { name: 'aes-128-cbc', keyOctets: 16 }],
  ['2.16.840.1.101.3.4.1.22', { name: 'aes-192-cbc', keyOctets: 24 }],
  ['2.16.840.1.101.3.4.1.42', { name: 'aes-256-cbc', keyOctets: 32 }],
  ['1.2.840.113549.3.7', TRIPLE_DES],
])

/** RFC 8018 appendix B.1. */
const PRF_DIGESTS = new Map([
  [ID_HMAC_WITH_SHA1, 'sha1'],
  ['1.2.840.113549.2.8', 'sha224'],
  ['1.2.840.113549.2.9', 'sha256'],
  ['1.2.840.113549.2.10', 'sha384'],
  ['1.2.840.113549.2.11', 'sha512'],
])

/** RFC 7292 appendix C: what a library of today leaves out. */
const BROKEN = new Map([
  ['1.2.840.113549.1.12.1.1', '128-bit RC4'],
  ['1.2.840.113549.1.12.1.2', '40-bit RC4'],
  ['1.2.840.113549.1.12.1.4', '3DES with two keys'],
  ['1.2.840.113549.1.12.1.5', '128-bit RC2'],
  ['1.2.840.113549.1.12.1.6', '40-bit RC2'],
])

const EXPORT_ANEW =
  'export it anew: openssl pkcs12 -legacy -in old.p12 -noenc -out all.pem, then openssl pkcs12 -export -in all.pem -out new.p12'

/** Throws an Error whose message is the bare reason. */
export async function decrypt(encrypted: Uint8Array, algorithm: AlgorithmIdentifier, password: Password): Promise<Buffer> {
  const id = algorithm.algorithm
  if (id !== ID_PBES2 && id !== id_pbeWithSHAAnd3_KeyTripleDES_CBC) {
    throw new Error(`it is encrypted with ${BROKEN.get(id) ?? `an unknown cipher (${id})`}: ${EXPORT_ANEW}`)
  }
  const { cipher, key, iv } = await (id === ID_PBES2 ? pbes2(algorithm, password) : pbe(algorithm, password))
  try {
    const decipher = createDecipheriv(cipher.name, key, iv)
    return Buffer.concat([decipher.update(encrypted), decipher.final()])
  } catch (error) {
    throw new Error('it cannot be decrypted: the password is wrong, or it is damaged', { cause: error })
  }
}

interface Means {
  readonly cipher: Cipher
  readonly key: Buffer
  readonly iv: Uint8Array
}

/** RFC 7292 appendix C. */
async function pbe({ parameters }: AlgorithmIdentifier, password: Password): Promise<Means> {
  const { salt, iterations } = parse(parameters, PbeParameters)
  const derivation = { digest: 'sha1', salt: octetsOf(salt), iterations }
  return {
    cipher: TRIPLE_DES,
    key: await password.pkcs12(FOR_KEY, { ...derivation, length: TRIPLE_DES.keyOctets }),
    iv: await password.pkcs12(FOR_IV, { ...derivation, length: DES_BLOCK_OCTETS }),
  }
}

/** RFC 8018 §6.2.2. */
async function pbes2({ parameters }: AlgorithmIdentifier, password: Password): Promise<Means> {
  const { keyDerivationFunc: kdf, encryptionScheme: scheme } = parse(parameters, Pbes2Parameters)
  const cipher = CIPHERS.get(scheme.algorithm)
  if (cipher === undefined) throw new Error(`it is encrypted with an unknown cipher (${scheme.algorithm}): ${EXPORT_ANEW}`)
  if (kdf.algorithm !== ID_PBKDF2) throw new Error(`its key is derived in an unknown way (${kdf.algorithm}): ${EXPORT_ANEW}`)
  const { salt, iterations, prf } = parse(kdf.parameters, Pbkdf2Parameters)
  const digest = PRF_DIGESTS.get(prf.algorithm)
  if (digest === undefined) throw new Error(`its key is derived with an unknown hash (${prf.algorithm}): ${EXPORT_ANEW}`)
  const key = await password.pbkdf2({ digest, salt: octetsOf(salt), iterations, length: cipher.keyOctets })
  return { cipher, key, iv: octetString(scheme.parameters) }
}
