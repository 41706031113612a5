import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import { OperationalError, reasonOf } from '../dns/operational-error.ts'
import { formatAddress, parseAddress } from '../net/address.ts'
import { certificateBlocks, hasEncryptedKey, isPem, privateKeyBlock } from './pem.ts'
import { weaknessOf } from './strength.ts'

/** A certificate chain and its key that match, and that TLS accepts. */
export interface Identity {
  /** DNS names of the leaf's subjectAltName, lower case, wildcards as they are. The Subject CN never counts (RFC 9525 §2). */
  readonly names: readonly string[]
  /** Addresses of the leaf's subjectAltName, canonical text. */
  readonly addresses: readonly string[]
  /** Milliseconds since 1970. */
  readonly notBefore: number
  readonly notAfter: number
  /** As Node calls it: "ec", "rsa", "ed25519" …. TLS can have one certificate of each beside the others. */
  readonly keyType: string
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
  /** When it has to be in date, milliseconds since 1970; null: whenever. By default now. */
  readonly now?: number | null
}

/** The identity of a server. Throws OperationalError that names the file, where it was configured, and what is wrong with it. */
export function parseIdentity(input: IdentityInput): Identity {
  const identity = parseClientIdentity(input)
  // RFC 9525 §2: clients look nowhere else
  if (identity.names.length + identity.addresses.length > 0) return identity
  throw unusable('it has neither a DNS name nor an address, so that no client can verify it', input.source)
}

/** The identity that a client shows, which needs no name. Throws as the other does. */
export function parseClientIdentity({ chainPem, keyPem, source, now = Date.now() }: IdentityInput): Identity {
  const { chain, leaf, pem } = parseChain(chainPem, source)
  const key = parseKey(keyPem, source)
  if (!leaf.checkPrivateKey(key.object)) throw unusable(`the key does not match the certificate ${source.cert}`, source, 'key')
  const dates = { notBefore: leaf.validFromDate.getTime(), notAfter: leaf.validToDate.getTime() }
  if (now !== null) checkDates(dates, { source, now })
  const weakness = weaknessOf(chain)
  if (weakness !== null) throw unusable(weakness, source)
  try {
    createSecureContext({ cert: pem, key: key.pem })
  } catch (error) {
    // a key or a signature that OpenSSL's security level refuses
    throw unusable(`TLS does not accept it: ${reasonOf(error)}`, source, 'cert', error)
  }
  return Object.freeze({
    ...alternativeNames(leaf),
    ...dates,
    keyType: key.object.asymmetricKeyType ?? '',
    chainPem: pem,
    keyPem: key.pem,
    fingerprint256: leaf.fingerprint256,
  })
}

/** Throws OperationalError when it has expired, or is not valid yet. `now`: milliseconds since 1970. */
export function checkDates(
  { notBefore, notAfter }: Pick<Identity, 'notBefore' | 'notAfter'>,
  { source, now }: { readonly source: CertificateFiles; readonly now: number },
): void {
  if (now > notAfter) throw unusable(`it expired on ${isoTime(notAfter)}`, source)
  // the day alone: who looks every minute is not to find another reason every minute
  if (now < notBefore) throw unusable(`it is not valid before ${isoTime(notBefore)} (the clock says ${isoTime(now).slice(0, 10)})`, source)
}

/** Whether a certificate with these names is for `host`: RFC 9525 §6.3. */
export function covers(names: readonly string[], host: string): boolean {
  return namesFor(host).some((name) => names.includes(name))
}

/** RFC 9525 §6.3: what a host may be called in a certificate: by its name, or by a wildcard for the whole left-most label. */
export function namesFor(host: string): readonly string[] {
  const dot = host.indexOf('.')
  return dot > 0 ? [host, `*${host.slice(dot)}`] : [host]
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

interface Chain {
  readonly chain: readonly X509Certificate[]
  readonly leaf: X509Certificate
  readonly pem: string
}

function parseChain(text: string, source: CertificateFiles): Chain {
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
  return { chain, leaf, pem: `${blocks.join('\n')}\n` }
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

function isoTime(time: number): string {
  return new Date(time).toISOString().replace('.000Z', 'Z')
}
