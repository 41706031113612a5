import type { Identity } from '../identity.ts'
import { loadX509 } from '../local-issue.ts'
import { certificateBlocks } from '../pem.ts'
import { readDirectory } from './directory.ts'
import type { AcmeHttp, Reach, Reply } from './http.ts'
import { AcmeError, fieldOf, textOf } from './problem.ts'
import { backoff } from './schedule.ts'
import type { SuggestionRecord } from './state.ts'

/** RFC 9773 §4.3.2. */
const MIN_CHECK_MS = 60_000
const MAX_CHECK_MS = 86_400_000
/** RFC 9773 §4.3.3: after an answer without Retry-After, and after what is not over in a moment. */
const CHECK_MS = 6 * 3_600_000
const MAX_QUICK_CHECKS = 5
/** The resolver's, which are no temporary errors there. */
const LOOKUP_FAILURES = new Set(['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL', 'EAI_NODATA'])
const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/

export interface SuggestionTerms {
  /** URL of the CA's directory. */
  readonly directory: string
  readonly identity: Identity
  readonly before: SuggestionRecord | null
  /** Milliseconds since 1970. */
  readonly now: number
  /** 0 ≤ n < 1. */
  readonly random: number
}

/** RFC 9773 §4.1: the key identifier of the issuer and the serial number, octets as they are; null: it has no such extension. */
export async function certificateId(chainPem: string): Promise<string | null> {
  const { AuthorityKeyIdentifierExtension, X509Certificate } = await loadX509()
  try {
    const leaf = new X509Certificate(certificateBlocks(chainPem)[0] ?? '')
    const keyId = leaf.getExtension(AuthorityKeyIdentifierExtension)?.keyId
    return keyId === undefined ? null : `${base64url(keyId)}.${base64url(derNumber(leaf.serialNumber))}`
  } catch {
    return null // nobody can ask for it then
  }
}

/** Asks when a certificate should be renewed, without an account (RFC 9773 §4.1). Never throws: without an answer we know ourselves. */
export async function askSuggestion(reach: Reach, terms: SuggestionTerms): Promise<SuggestionRecord> {
  const { identity, before, now } = terms
  const certificate = identity.fingerprint256
  const known = before?.certificate === certificate ? before : null
  try {
    const answer = await reach((http) => askWindow(http, terms))
    const window = chooseMoment(answer.value, { known: known?.window ?? null, random: terms.random })
    return { certificate, window, checkAt: now + bounded(answer.retryAfterMs ?? CHECK_MS), failures: 0 }
  } catch (error) {
    const failures = (known?.failures ?? 0) + 1
    // what has been said before still holds
    return { certificate, window: known?.window ?? null, checkAt: now + waitAfterFailure(error, failures), failures }
  }
}

/** A CA may learn to say it: then it is asked the next day. */
async function askWindow(http: AcmeHttp, { directory, identity }: SuggestionTerms): Promise<Reply<ReturnType<typeof parseWindow>>> {
  const { renewalInfo } = await readDirectory(http, directory)
  const id = await certificateId(identity.chainPem)
  if (renewalInfo === null || id === null) return { value: null, retryAfterMs: MAX_CHECK_MS }
  const { value, retryAfterMs } = await http.get(`${renewalInfo.replace(/\/$/, '')}/${id}`)
  return { value: parseWindow(value), retryAfterMs }
}

function waitAfterFailure(error: unknown, failures: number): number {
  const asked = error instanceof AcmeError ? error.retryAfterMs : null
  if (asked !== null) return bounded(asked)
  return isTemporary(error) && failures <= MAX_QUICK_CHECKS ? backoff(failures, CHECK_MS) : CHECK_MS
}

function bounded(ms: number): number {
  return Math.min(Math.max(ms, MIN_CHECK_MS), MAX_CHECK_MS)
}

/** Null: no answer, as one is that ends before it starts (RFC 9773 §4.2). Milliseconds since 1970. */
export function parseWindow(value: unknown): { readonly start: number; readonly end: number } | null {
  const window = fieldOf(value, 'suggestedWindow')
  const [start, end] = [textOf(window, 'start'), textOf(window, 'end')].map((text) => (RFC3339.test(text) ? Date.parse(text) : Number.NaN))
  return start !== undefined && end !== undefined && end > start ? { start, end } : null
}

interface ChoiceTerms {
  readonly known: SuggestionRecord['window']
  readonly random: number
}

/** Uniformly random in the window, once for each window (RFC 9773 §4.2): chosen anew each time, it would come ever nearer to the start. */
function chooseMoment(window: ReturnType<typeof parseWindow>, { known, random }: ChoiceTerms): SuggestionRecord['window'] {
  if (window === null) return null
  if (known?.start === window.start && known.end === window.end) return known
  return { ...window, chosen: Math.floor(window.start + random * (window.end - window.start)) }
}

function isTemporary(error: unknown): boolean {
  if (error instanceof AcmeError) return error.status >= 500 || error.status === 429
  return !(error instanceof Error && 'code' in error && LOOKUP_FAILURES.has(String(error.code)))
}

/** The content of a positive INTEGER: before a high first octet there is one of zero, which the library leaves out. */
function derNumber(hex: string): string {
  return Number.parseInt(hex.slice(0, 2), 16) >= 0x80 ? `00${hex}` : hex
}

function base64url(hex: string): string {
  return Buffer.from(hex, 'hex').toString('base64url')
}
