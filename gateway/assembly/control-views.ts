import type { CertificateState } from '../../certs/provider.ts'
import { classText, rcodeText, typeText } from '../../dns/text.ts'
import { formatEndpoint } from '../../net/address.ts'
import type { CachedNameView, CachedQuestionView, CertificateStatus, ListenerStatus } from '../admin/control.ts'
import type { CachedName, CachedQuestion } from '../cache/inspect.ts'
import type { ProbeReport } from '../probe/prober.ts'
import type { ProbeSeries } from '../telemetry/telemetry.ts'
import type { BoundEndpoints } from './transports.ts'

const DAY_MS = 86_400_000

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

export function certificateStatuses({ source, identities }: CertificateState): readonly CertificateStatus[] {
  return identities.map(({ names, addresses, notBefore, notAfter, fingerprint256 }) => ({
    source,
    names,
    addresses,
    notBefore: new Date(notBefore).toISOString(),
    notAfter: new Date(notAfter).toISOString(),
    daysLeft: Math.floor((notAfter - Date.now()) / DAY_MS),
    fingerprint: fingerprint256,
  }))
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
