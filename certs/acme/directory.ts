import type { AcmeHttp } from './http.ts'
import { fieldOf, textOf } from './problem.ts'

/** What a CA offers besides RFC 8555. */
export interface AcmeDirectory {
  /** Where renewal information is (RFC 9773 §4.1); null: there is none. */
  readonly renewalInfo: string | null
  /** Names of profiles (draft-ietf-acme-profiles §3). */
  readonly profiles: readonly string[]
}

/** Throws as AcmeHttp does. */
export async function readDirectory(http: AcmeHttp, url: string): Promise<AcmeDirectory> {
  const { value } = await http.get(url)
  if (textOf(value, 'newOrder') === '') throw new Error(`it is no ACME directory: ${url}`)
  const profiles = fieldOf(fieldOf(value, 'meta'), 'profiles')
  return {
    renewalInfo: textOf(value, 'renewalInfo') || null,
    profiles: typeof profiles === 'object' && profiles !== null ? Object.keys(profiles) : [],
  }
}
