import { setTimeout as sleep } from 'node:timers/promises'
import type { RootsSource } from '../roots.ts'

/** ECDSA: P-256. RSA: 2,048 bits. */
export type KeyKind = 'ecdsa' | 'rsa'

/** A certificate that a CA gives out by ACME (RFC 8555), one for each kind of key. */
export interface AcmeOptions {
  /** https:// URL. */
  readonly directory: string
  readonly email: string | null
  /** 1 to 100 host names, wildcards and canonical addresses; the first names the certificate. */
  readonly names: readonly string[]
  /** Roots to trust the CA's server by, besides the usual ones. */
  readonly ca: RootsSource | null
  /** RFC 8555 §7.3.4; the file holds the HMAC key in base64url. */
  readonly eab: ExternalAccount | null
  /** draft-ietf-acme-profiles. */
  readonly profile: string | null
  /** Common name of a root. */
  readonly preferredChain: string | null
  /** At least one. */
  readonly keys: readonly KeyKind[]
  /** Who wants it ("atlas.yaml:12:7"). */
  readonly origin: string
}

export interface ExternalAccount {
  readonly keyId: string
  readonly keyFile: string
  readonly origin: string
}

/** Time and chance. */
export interface AcmeClock {
  /** Milliseconds since 1970, of the wall clock: it may jump. */
  now(): number
  /** Runs `work` once, in `ms`; the result calls it off. */
  after(ms: number, work: () => void): () => void
  /** Rejects when `signal` is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>
  /** 0 ≤ n < 1, each as likely. */
  random(): number
}

export const SYSTEM_CLOCK: AcmeClock = {
  now: Date.now,
  after: (ms, work) => {
    const timer = setTimeout(work, ms).unref()
    return () => clearTimeout(timer)
  },
  sleep: (ms, signal) => sleep(ms, undefined, { signal, ref: false }),
  random: Math.random,
}

/** Where a certificate comes from, for people. `directory`: URL. */
export function acmeSource(directory: string): string {
  return `ACME ${new URL(directory).host}`
}
