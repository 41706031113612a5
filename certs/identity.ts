import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import { OperationalError, reasonOf } from '../dns/operational-error.ts'
import { formatAddress, parseAddress } from '../net/address.ts'
import { certificateBlocks, hasEncryptedKey, isPem, privateKeyBlock } from './pem.ts'

/** A certificate chain and its key that match, were in date when they were parsed, and that TLS accepts. */
export interface Identity {
  /** DNS names of the leaf's subjectAltName, lower case, wildcards as they are. The Subject CN never counts (RFC 9525 §2). */
  readonly names: readonly string[]
  /** Addresses of the leaf's subjectAltName, canonical text. */
  readonly addresses: readonly string[]
  /** Milliseconds since 1970. */
  readonly notBefore: number
  readonly notAfter: number
  readonly chainPem: string
  readonly keyPem: string
  /** SHA-256 of the leaf, hex pairs with colons. */
  readonly fingerprint256: string
}

/** Where the two came from, for messages: the files, and who named them ("atlas.yaml:12:7"). */
export interface CertificateFiles {
  readonly cert: string
  readonly key: string
  readonly origin: string
}

export interface IdentityInput {
  /** PEM, the leaf first, each certificate issued by the next; a root at the end is allowed. */
  readonly chainPem: string
  /** PEM, not encrypted. It may be the same text as the chain. */
  readonly keyPem: string
  readonly source: CertificateFiles
  /** Milliseconds since 1970. */
  readonly now?: number
}

/** Throws OperationalError that names the file, where it was configured, and what is wrong with it. */
export function parseIdentity({ chainPem, keyPem, source, now = Date.now() }: IdentityInput): Identity {
  const { leaf, pem } = parseChain(chainPem, source)
  const key = parseKey(keyPem, source)
  if (!leaf.checkPrivateKey(key.object)) throw unusable(`the key does not match the certificate ${source.cert}`, source, 'key')
  const notBefore = leaf.validFromDate.getTime()
  const notAfter = leaf.validToDate.getTime()
  if (now > notAfter) throw unusable(`it expired on ${isoDate(notAfter)}`, source)
  if (now < notBefore) throw unusable(`it is not valid before ${isoDate(notBefore)} (the clock says ${isoDate(now)})`, source)
  try {
    createSecureContext({ cert: pem, key: key.pem })
  } catch (error) {
    // a key or a signature that OpenSSL's security level refuses
    throw unusable(`TLS does not accept it: ${reasonOf(error)}`, source, 'cert', error)
  }
  return Object.freeze({
    ...alternativeNames(leaf),
    notBefore,
    notAfter,
    chainPem: pem,
    keyPem: key.pem,
    fingerprint256: leaf.fingerprint256,
  })
}

/** "Cannot use certificate: <reason>: <file> (<origin>)". */
export function unusable(reason: string, source: CertificateFiles, file: 'cert' | 'key' = 'cert', cause?: unknown): OperationalError {
  return new OperationalError('ATLAS_CERTIFICATE', `Cannot use certificate: ${reason}: ${source[file]} (${source.origin})`, cause)
}

/** By name, key usage and signature. */
export function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
  } catch {
    return false // a kind of key that OpenSSL does not know
  }
}

function parseChain(text: string, source: CertificateFiles): { leaf: X509Certificate; pem: string } {
  const blocks = certificateBlocks(text)
  const chain = blocks.map((block, i) => {
    try {
      return new X509Certificate(block)
    } catch (error) {
      throw unusable(`certificate ${i + 1} in it is damaged`, source, 'cert', error)
    }
  })
  const [leaf] = chain
  if (leaf === undefined) throw unusable(isPem(text) ? 'there is no certificate in it' : 'it is not PEM', source)
  chain.forEach((certificate, i) => {
    const issuer = chain[i + 1]
    if (issuer !== undefined && !isIssuedBy(certificate, issuer)) {
      throw unusable(`the chain is out of order, certificate ${i + 1} is not issued by certificate ${i + 2}`, source)
    }
  })
  return { leaf, pem: `${blocks.join('\n')}\n` }
}

function parseKey(text: string, source: CertificateFiles): { object: KeyObject; pem: string } {
  const block = privateKeyBlock(text)
  if (block === null) {
    if (hasEncryptedKey(text)) throw unusable('the key is encrypted, and there is no way to give its password', source, 'key')
    throw unusable(isPem(text) ? 'there is no private key in it' : 'it is not PEM', source, 'key')
  }
  try {
    return { object: createPrivateKey(block), pem: `${block}\n` }
  } catch (error) {
    throw unusable('the private key in it is damaged', source, 'key', error)
  }
}

/** Node's text of the extension, "DNS:a, IP Address:b": a value with odd characters is a quoted string, so it cannot forge a second one. */
function alternativeNames(leaf: X509Certificate): Pick<Identity, 'names' | 'addresses'> {
  const names = new Set<string>()
  const addresses = new Set<string>()
  for (const [, kind, value = ''] of (leaf.subjectAltName ?? '').matchAll(/(?:^|, )([^:",]+):("(?:[^"\\]|\\.)*"|[^,]*)/g)) {
    if (kind === 'DNS') names.add(value.toLowerCase())
    const address = kind === 'IP Address' ? parseAddress(value) : null
    if (address !== null) addresses.add(formatAddress(address))
  }
  return { names: [...names], addresses: [...addresses] }
}

function isoDate(time: number): string {
  return new Date(time).toISOString().replace('.000Z', 'Z')
}
