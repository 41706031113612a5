import { type Stage, Verdict } from '../../dns/contracts.ts'
import type { Query } from '../../dns/query.ts'

/**
 * Who may ask. That was decided when the connection began, from its address and its token; here, on every transport alike, it
 * takes effect, before an octet of the message is read (conformance DNS-23; dnsdist CVE-2026-24029 was a list skipped on DoH).
 */
export class AccessStage implements Stage {
  readonly name = 'access'

  onQuery(query: Query): Verdict {
    const { refusal } = query.client
    if (refusal === null) return Verdict.NEXT
    query.failure = refusal
    return Verdict.FAILED
  }
}
