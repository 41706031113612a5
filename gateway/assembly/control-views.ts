import type { Identity } from '../../certs/identity.ts'
import { keyKindOf } from '../../certs/key-kind.ts'
import { daysLeft, endsSoon, nameOf } from '../../certs/lifetime.ts'
import { LOCAL_CA } from '../../certs/local-identities.ts'
import type { CertificateState } from '../../certs/provider.ts'
import { classText, rcodeText, typeText } from '../../dns/text.ts'
import { formatEndpoint } from '../../net/address.ts'
import type {
  CachedNameView,
  CachedQuestionView,
  CertificateRenewal,
  CertificateStatus,
  ListenerStatus,
  PresentCertificate,
} from '../admin/control.ts'
import type { CachedName, CachedQuestion } from '../cache/inspect.ts'
import type { ProbeReport } from '../probe/prober.ts'
import type { ProbeSeries } from '../telemetry/telemetry.ts'
import type { LocalCaFacts } from './identities.ts'
import type { BoundEndpoints } from './transports.ts'

export function cachedNameView(name: string, { answers, failures }: CachedName): CachedNameView {
  return {
    name,
    answers: answers.map(({ rcode, secondsLeft, bytes, popularity, ...question }) => ({
      ...questionView(question),
      rcode: rcodeText(rcode),
      secondsLeft: Math.floor(secondsLeft),
      bytes,
      popularity,
    })),
    failures: failures.map(({ reason, secondsLeft, ...question }) => ({
      ...questionView(question),
      extendedError: reason,
      secondsLeft: Math.floor(secondsLeft),
    })),
  }
}

function questionView({ type, class: qclass, dnssecOk, checkingDisabled, network }: CachedQuestion): CachedQuestionView {
  return { type: type === null ? null : typeText(type), class: classText(qclass), dnssecOk, checkingDisabled, network }
}

interface CertificateContext {
  readonly localCa: LocalCaFacts | null
  readonly renewal: CertificateRenewal | null
  /** Milliseconds since 1970. */
  readonly now: number
}

export function certificateStatus(certificate: CertificateState, { localCa, renewal, now }: CertificateContext): CertificateStatus {
  const { source, names, identities, renewsAt, problem } = certificate
  const isLocal = localCa !== null && source === LOCAL_CA
  return {
    name: nameOf(certificate),
    source,
    names,
    present: identities.map((identity) => presentCertificate(identity, now)),
    renewsAt: timeText(renewsAt),
    problem: problem === null ? null : { ...problem, since: timeText(problem.since), retriesAt: timeText(problem.retriesAt) },
    renewal,
    authority: isLocal ? { file: localCa.path, fingerprint: localCa.fingerprint } : null,
  }
}

function presentCertificate(identity: Identity, now: number): PresentCertificate {
  const { names, addresses, notBefore, notAfter, fingerprint256 } = identity
  return {
    key: keyKindOf(identity),
    names,
    addresses,
    notBefore: timeText(notBefore),
    notAfter: timeText(notAfter),
    daysLeft: daysLeft(identity, now),
    endsSoon: endsSoon(identity, now),
    fingerprint: fingerprint256,
  }
}

function timeText<T extends number | null>(time: T): T extends number ? string : null
function timeText(time: number | null): string | null {
  return time === null ? null : new Date(time).toISOString()
}

export function listenerStatus(endpoints: BoundEndpoints, reports: readonly ProbeReport[]): readonly ListenerStatus[] {
  return (['doh', 'dot', 'doq', 'dns'] as const).flatMap((kind) =>
    endpoints[kind].map((endpoint) => {
      const address = formatEndpoint(endpoint)
      const own = reports.filter(({ target }) => target.kind === kind && formatEndpoint(target.endpoint) === address)
      return { kind, address, probes: own.map(({ status }) => status) }
    }),
  )
}

export function probeSeries({ target, status }: ProbeReport): ProbeSeries {
  const labels = { transport: target.transport, address: formatEndpoint(target.endpoint) }
  return { labels, up: status.outcome === 'pending' ? null : status.outcome !== 'failed', seconds: status.seconds }
}
