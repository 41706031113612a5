import type { FileSource } from '../../certs/file-identities.ts'
import { filesNamed } from '../../certs/files.ts'
import { covers, type Identity } from '../../certs/identity.ts'
import { daysLeft } from '../../certs/lifetime.ts'
import type { Config } from '../config/config.ts'
import { isOpenToCas } from './listeners.ts'
import { listensOnQuic } from './quic.ts'

const DAY_MS = 86_400_000
/** Whoever renews a certificate of three months by a timer has done it by then; of a shorter one, in its last third. */
const RENEWED_BEFORE_DAYS = 14
const RENEWED_BEFORE_SHARE = 1 / 3

/** What the operator should know about certificates, of files that can be used and of CAs. */
export function certificateWarnings(config: Config, files: readonly FileSource[], now = Date.now()): readonly string[] {
  // the local CA alone has all names
  if (files.length + config.tls.acme.length === 0) return []
  return [
    ...files.flatMap((each) => warningsOf(each, now)),
    ...quicWarnings(config, files),
    ...publicNameWarnings(config, files),
    ...challengeWarnings(config),
  ]
}

function warningsOf({ files, identity }: FileSource, now: number): readonly string[] {
  const { notBefore, notAfter, keyType } = identity
  const warnings: string[] = []
  const named = `${filesNamed(files).cert} (${files.origin})`
  const left = notAfter - now
  if (left >= 0 && left < Math.min(RENEWED_BEFORE_DAYS * DAY_MS, (notAfter - notBefore) * RENEWED_BEFORE_SHARE)) {
    warnings.push(`${named}: it expires in ${daysLeft(identity, now)} days and has not been renewed`)
  }
  // CA/Browser Forum Baseline Requirements §6.1.1.1 know RSA and ECDSA only, and so do browsers
  if (keyType !== 'rsa' && keyType !== 'ec') warnings.push(`${named}: its key is ${keyType}, which browsers and most phones cannot verify`)
  return warnings
}

/** QUIC has no choice by name (docs/quic.md). */
function quicWarnings(config: Config, files: readonly FileSource[]): readonly string[] {
  if (!listensOnQuic(config)) return []
  const [first, ...others] = [...files.map(({ identity }) => namesOf(identity)), ...config.tls.acme.map(({ names }) => names)]
  const missing = [...new Set(others.flat())].filter((name) => first !== undefined && !covers(first, name))
  if (missing.length === 0) return []
  return [
    `tls: DNS over QUIC and HTTP/3 present the first certificate, whatever name a client asks for: it is not for ${missing.join(', ')}`,
  ]
}

function publicNameWarnings({ public: { name }, tls }: Config, files: readonly FileSource[]): readonly string[] {
  const all = [...files.map(({ identity }) => namesOf(identity)), ...tls.acme.map(({ names }) => names)]
  if (name === null || all.some((names) => covers(names, name))) return []
  return [`public.name: no certificate is for ${name}, so clients that use this name will refuse the gateway`]
}

/** A CA gets by where it does not wait for the end of a handshake of TLS 1.3: that it has no certificate is found out after its own part. */
function challengeWarnings({ listen, tls }: Config): readonly string[] {
  const places = [...listen.doh, ...listen.dot].filter(({ cleartext }) => !cleartext)
  if (!tls.acme.some(({ challenge }) => challenge === 'tls-alpn-01') || places.some(isOpenToCas)) return []
  const advice = 'add one without clientCa, or choose challenge http-01 or dns-01'
  if (places.length === 0)
    return [`tls.acme: tls-alpn-01 needs an address of listen.doh or listen.dot with TLS, and there is none: ${advice}`]
  return [`tls.acme: all addresses for tls-alpn-01 have clientCa, and a CA shows no certificate, so that it may give none: ${advice}`]
}

function namesOf({ names, addresses }: Identity): readonly string[] {
  return [...names, ...addresses]
}
