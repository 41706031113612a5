import { type Stage, Verdict } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import type { Query } from '../../dns/query.ts'

/**
 * Who may ask. The listener's list was applied to the address when the connection began; here, on every transport alike, it
 * takes effect, before an octet of the message is read (conformance DNS-23; dnsdist CVE-2026-24029 was a list skipped on DoH).
 */
export class AccessStage implements Stage {
  readonly name = 'access'

  onQuery(query: Query): Verdict {
    if (query.client.admitted) return Verdict.NEXT
    query.failure = Failure.access_denied
    return Verdict.FAILED
  }
}
