import type { X509Certificate } from 'node:crypto'
import type { Holder } from '../dns/contracts.ts'
import type { ClientCa } from '../net/tls.ts'
import { accountFor } from './account.ts'

/** It stands in logs, and is whatever the CA has signed. */
const MAX_NAME_LENGTH = 64
/** One general name of Node's text of the extension, "DNS:a, URI:b": a value with odd characters is a quoted string, so it cannot forge a second one. */
const GENERAL_NAME = /([^:",]+):("(?:[^"\\]|\\.)*"|[^,]*)(?:, |$)/gy
const NAMING: ReadonlySet<string | undefined> = new Set(['DNS', 'email', 'URI'])

/**
 * Who has shown this certificate, which TLS has found to lead to `clientCa`; null: nobody whom it could be. A session that is resumed
 * is not looked at again by TLS, and may outlive its certificate.
 */
export function holderOfCertificate(certificate: X509Certificate | undefined, clientCa: ClientCa, now: number): Holder | null {
  if (certificate === undefined || now > certificate.validToDate.getTime()) return null
  const key = certificate.publicKey.export({ type: 'spki', format: 'der' })
  return { name: nameOf(certificate), account: accountFor(key), clientCa: clientCa.id }
}

/** The first name, mail address or URI that it is for; else the common name of its subject, else its fingerprint. */
function nameOf(certificate: X509Certificate): string {
  const texts = [alternativeName(certificate), commonName(certificate), certificate.fingerprint256.replaceAll(':', '')]
  return texts.map(printable).find((text) => text !== '') ?? ''
}

function alternativeName({ subjectAltName = '' }: X509Certificate): string {
  const first = [...subjectAltName.matchAll(GENERAL_NAME)].find(([, kind]) => NAMING.has(kind))
  return first?.[2] ?? ''
}

function commonName(certificate: X509Certificate): string {
  // of several a list, whatever the type says
  const name: unknown = certificate.toLegacyObject().subject?.CN
  return Array.isArray(name) ? String(name[0]) : String(name ?? '')
}

function printable(text: string): string {
  const shown = text.replaceAll(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ').trim()
  return [...shown].slice(0, MAX_NAME_LENGTH).join('')
}
