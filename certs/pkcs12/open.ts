import { createHmac, createPrivateKey, hash, type KeyObject, timingSafeEqual, X509Certificate } from 'node:crypto'
import { type ContentInfo, id_data, id_encryptedData } from '@peculiar/asn1-cms'
import {
  AuthenticatedSafe,
  CertBag,
  id_certBag,
  id_keyBag,
  id_pkcs8ShroudedKeyBag,
  id_x509Certificate,
  type MacData,
  PFX,
  PKCS8ShroudedKeyBag,
  type SafeBag,
  SafeContents,
} from '@peculiar/asn1-pfx'
import { isIssuedBy } from '../identity.ts'
import { octetString, octetsOf, parse } from './ber.ts'
import { decrypt } from './decrypt.ts'
import { FOR_MAC, Password } from './password.ts'
import { EncryptedData } from './schema.ts'

export interface Pkcs12Content {
  /** PEM, the leaf first, each certificate issued by the next. */
  readonly chainPem: string
  readonly keyPem: string
}

/** No chain comes near it, and each is compared with each, and with each key. */
const MAX_CERTIFICATES = 50
/** Containers of Java and NSS may have several. */
const MAX_KEYS = 50

/**
 * Opens a PKCS #12 container (RFC 7292): its key, and the chain of that, in whatever order it stands there. Null: the password is
 * wrong. Throws an Error whose message is the bare reason: only the caller knows where the container is from.
 */
export async function openPkcs12(container: Uint8Array, text: string): Promise<Pkcs12Content | null> {
  const { authSafe, macData } = parse(container, PFX, 'it is no PKCS #12 container')
  if (authSafe.contentType !== id_data) throw new Error('it is signed with a key, not with a password')
  const content = octetString(authSafe.content)
  const password = await fittingPassword(text, macData, content)
  if (password === null) return null
  const found: Found = { keys: [], certificates: [] }
  for (const part of parse(content, AuthenticatedSafe)) {
    for (const bag of parse(await contentOf(part, password), SafeContents)) await collect(bag, { password, found })
  }
  return pairOf(found)
}

/** RFC 7292 appendix A, RFC 8017 appendix B.1. */
const MAC_DIGESTS = new Map([
  ['1.3.14.3.2.26', 'sha1'],
  ['2.16.840.1.101.3.4.2.4', 'sha224'],
  ['2.16.840.1.101.3.4.2.1', 'sha256'],
  ['2.16.840.1.101.3.4.2.2', 'sha384'],
  ['2.16.840.1.101.3.4.2.3', 'sha512'],
])

/** RFC 7292 §5.1. Without a MAC only decryption tells. */
async function fittingPassword(text: string, { mac, macSalt, iterations }: MacData, content: Uint8Array): Promise<Password | null> {
  const forms = Password.formsOf(text)
  const { algorithm } = mac.digestAlgorithm
  if (algorithm === '') return forms[0] ?? null // the class of the library for a missing one
  const digest = MAC_DIGESTS.get(algorithm)
  if (digest === undefined) throw new Error(`it is protected by an unknown MAC (${algorithm})`)
  const expected = octetsOf(mac.digest)
  // RFC 7292 appendix B.4: the key is as long as the hash, not as what stands here
  const { length } = hash(digest, '', 'buffer')
  for (const password of forms) {
    const key = await password.pkcs12(FOR_MAC, { digest, salt: octetsOf(macSalt), iterations, length })
    const own = createHmac(digest, key).update(content).digest()
    if (own.length === expected.length && timingSafeEqual(own, expected)) return password
  }
  return null
}

async function contentOf({ contentType, content }: ContentInfo, password: Password): Promise<Uint8Array> {
  if (contentType === id_data) return octetString(content)
  if (contentType !== id_encryptedData) throw new Error('it is encrypted with a key, not with a password')
  const { encryptedContent, contentEncryptionAlgorithm } = parse(content, EncryptedData).encryptedContentInfo
  const { value, constructedValue = [] } = encryptedContent ?? {}
  const parts = value === undefined ? constructedValue : [value]
  return decrypt(Buffer.concat(parts.map(octetsOf)), contentEncryptionAlgorithm, password)
}

interface Found {
  readonly keys: KeyObject[]
  readonly certificates: X509Certificate[]
}

async function collect({ bagId, bagValue }: SafeBag, { password, found }: { password: Password; found: Found }): Promise<void> {
  const isKey = bagId === id_keyBag || bagId === id_pkcs8ShroudedKeyBag
  if (isKey && found.keys.length === MAX_KEYS) throw new Error(`there are more than ${MAX_KEYS} keys in it`)
  if (bagId === id_keyBag) found.keys.push(keyOf(new Uint8Array(bagValue)))
  if (bagId === id_pkcs8ShroudedKeyBag) {
    const { encryptedData, encryptionAlgorithm } = parse(bagValue, PKCS8ShroudedKeyBag)
    found.keys.push(keyOf(await decrypt(octetsOf(encryptedData), encryptionAlgorithm, password)))
  }
  if (bagId !== id_certBag) return
  const { certId, certValue } = parse(bagValue, CertBag)
  if (certId !== id_x509Certificate) return
  if (found.certificates.length === MAX_CERTIFICATES) throw new Error(`there are more than ${MAX_CERTIFICATES} certificates in it`)
  found.certificates.push(certificateOf(octetString(certValue)))
}

function keyOf(der: Uint8Array): KeyObject {
  try {
    return createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' })
  } catch (error) {
    throw new Error('the private key in it is damaged', { cause: error })
  }
}

function certificateOf(der: Uint8Array): X509Certificate {
  try {
    return new X509Certificate(der)
  } catch (error) {
    throw new Error('a certificate in it is damaged', { cause: error })
  }
}

function pairOf({ keys, certificates }: Found): Pkcs12Content {
  if (keys.length === 0) throw new Error('there is no private key in it')
  if (certificates.length === 0) throw new Error('there is no certificate in it')
  for (const key of keys) {
    const leaf = certificates.find((certificate) => certificate.checkPrivateKey(key))
    if (leaf === undefined) continue
    return { chainPem: chainOf(leaf, certificates).join(''), keyPem: key.export({ type: 'pkcs8', format: 'pem' }) }
  }
  throw new Error('its key is of none of its certificates')
}

/** From the leaf upward, as far as issuers are there. */
function chainOf(leaf: X509Certificate, certificates: readonly X509Certificate[]): readonly X509Certificate[] {
  const chain = [leaf]
  for (;;) {
    const last = chain.at(-1) ?? leaf
    const issuer = certificates.find((each) => !chain.includes(each) && isIssuedBy(last, each))
    if (issuer === undefined) return chain
    chain.push(issuer)
  }
}
