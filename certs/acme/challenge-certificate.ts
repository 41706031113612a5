import { createHash } from 'node:crypto'
import { OperationalError } from '../../dns/operational-error.ts'
import { parseAddress, reverseName } from '../../net/address.ts'
import { BACKDATE_MS, DAY_MS, loadX509, makeKeys, seconds, sign } from '../local-issue.ts'
import type { AcmeIdentifier, Challenge } from './challenge.ts'

/** What a CA is shown that asks for `serverName` by acme-tls/1: a value that can be sent to a thread. */
export interface ChallengeCertificate {
  /** Lower case. */
  readonly serverName: string
  readonly certPem: string
  readonly keyPem: string
}

/** The certificate of tls-alpn-01, with a new key. `now`: milliseconds since 1970. Throws OperationalError for a bad address. */
export async function issueChallengeCertificate({ identifier, keyAuthorization }: Challenge, now: number): Promise<ChallengeCertificate> {
  const serverName = serverNameOf(identifier)
  const x509 = await loadX509()
  const keys = await makeKeys()
  const digest = createHash('sha256').update(keyAuthorization).digest()
  const issued = await sign(keys, {
    // RFC 8737 §3: self-signed
    subject: SUBJECT,
    issuer: SUBJECT,
    notBefore: seconds(now - BACKDATE_MS),
    notAfter: seconds(now + LIFETIME_MS),
    signingKey: keys.privateKey,
    extensions: [
      // RFC 8737 §3, RFC 8738 §6: the identifier and no other
      new x509.SubjectAlternativeNameExtension([identifier]),
      // RFC 8737 §3: critical, so that nobody takes the certificate for one of the usual kind
      new x509.Extension(ACME_IDENTIFIER_OID, true, Buffer.concat([OCTET_STRING_32, digest])),
    ],
  })
  return { serverName, ...issued }
}

/** RFC 8738 §6: a server name is no address, so a CA asks for the address's name in the DNS. */
function serverNameOf({ type, value }: AcmeIdentifier): string {
  if (type === 'dns') return value.toLowerCase()
  const address = parseAddress(value)
  if (address !== null) return reverseName(address)
  throw new OperationalError('ATLAS_CERTIFICATE', `Cannot show a challenge: an address is IPv4 or IPv6: received ${value}`)
}

/** RFC 8737 §6.1: id-pe-acmeIdentifier. */
const ACME_IDENTIFIER_OID = '1.3.6.1.5.5.7.1.31'
/** RFC 8737 §3: Authorization ::= OCTET STRING (SIZE (32)), in DER. */
const OCTET_STRING_32 = Buffer.from([0x04, 32])
const SUBJECT = 'O=Atlas DNS Gateway,CN=ACME challenge'
/** An authorization is pending for as long at most with the CAs that are known. */
const LIFETIME_MS = 7 * DAY_MS
