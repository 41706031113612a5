import assert from 'node:assert/strict'
import type {
  CertificateStatus,
  Control,
  ControlEvent,
  ListenerStatus,
  PurgeOutcome,
  PurgeTarget,
  ReloadOutcome,
  RenewalOutcome,
  RollOverOutcome,
  Status,
  UpstreamStatus,
} from '../../gateway/admin/control.ts'

const NOW = '2026-03-01T12:00:00.000Z'

const CACHE = { entries: 1200, bytesUsed: 150_000, bytes: 67_108_864, evictions: 3, prefetches: 17, coalesced: 40 }

const STATUS: Status = {
  version: '0.1.0',
  pid: 4711,
  startedAt: '2026-03-01T10:00:00.000Z',
  uptimeSeconds: 7200.5,
  configFile: '/etc/atlas/atlas.yaml',
  stateDirectory: '/var/lib/atlas',
  ready: true,
  draining: false,
  reasons: [],
  warnings: ['the certificate of dns.example.net (local CA) cannot be renewed'],
  lastReload: { at: NOW, outcome: 'refused', message: 'listen.dot[1]: expected "host:port": received 7' },
  workers: [{ index: 0, serving: true, restarts: 0, eventLoop: { delaySeconds: 0.0004, utilization: 0.12 } }],
  traffic: {
    openQueries: 2,
    transports: [{ transport: 'doh2', queries: 100, connections: 3 }],
    answers: [{ transport: 'doh2', rcode: 'NOERROR', source: 'cache', count: 90 }],
    drops: [{ reason: 'malformed_message', count: 1 }],
  },
  cache: CACHE,
}

const LISTENERS: readonly ListenerStatus[] = [
  {
    kind: 'dot',
    address: '127.0.0.1:8853',
    probes: [
      { transport: 'dot', outcome: 'ok', reason: null, at: NOW, seconds: 0.002, rebinds: 0 },
      { transport: 'tcp', outcome: 'pending', reason: null, at: null, seconds: null, rebinds: 1 },
    ],
  },
]

const CERTIFICATES: readonly CertificateStatus[] = [
  {
    name: 'dns.example.net',
    source: 'local CA',
    names: ['dns.example.net', '192.0.2.1'],
    present: [
      {
        key: 'ECDSA P-256',
        names: ['dns.example.net'],
        addresses: ['192.0.2.1'],
        notBefore: '2026-02-01T00:00:00.000Z',
        notAfter: '2026-05-01T00:00:00.000Z',
        daysLeft: 60,
        endsSoon: false,
        fingerprint: 'AB:CD:EF',
      },
    ],
    renewsAt: '2026-04-01T00:00:00.000Z',
    problem: null,
    renewal: { askedAt: NOW, outcome: 'failed', message: 'Cannot write: the disk is full' },
    authority: { file: '/var/lib/atlas/ca.pem', fingerprint: '01:23:45' },
  },
  {
    name: '*.example.org',
    source: 'ACME ca.example',
    names: ['*.example.org'],
    present: [],
    renewsAt: null,
    problem: { message: 'Cannot order: no answer', since: NOW, retriesAt: NOW, attempts: 3 },
    renewal: null,
    authority: null,
  },
]

/** A gateway by its answers only: every value is of the kind that a real one gives. */
export class FakeControl implements Control {
  /** What was asked for, in order. */
  readonly calls: string[] = []
  readonly followers = new Set<(event: ControlEvent) => void>()
  reasons: readonly string[] = []
  outcome: ReloadOutcome = {
    outcome: 'applied',
    changes: [{ path: 'timeouts.query', from: '4s', to: '5s' }],
    restartOnly: [{ path: 'workers', from: 8, to: null }],
    warnings: ['listen.dns[0]: everybody may ask'],
  }
  renewal: RenewalOutcome = { outcome: 'renewed', certificate: CERTIFICATES[0] ?? assert.fail() }
  onReload: () => Promise<void> = async () => {}
  onDrain: () => void = () => {}
  renderMetrics = () => '# TYPE atlas_queries_total counter\natlas_queries_total{transport="dot"} 1\n'
  upstreamList: readonly UpstreamStatus[] = [
    {
      name: 'quad9',
      url: 'tls://9.9.9.9:853',
      enabled: true,
      state: 'up',
      ways: [
        {
          url: 'tls://dns.quad9.net:853 at 9.9.9.9',
          state: 'down',
          sinceSeconds: 9,
          rttSeconds: null,
          p95Seconds: null,
          loss: 1,
          reason: 'upstream_timeout',
        },
        { url: 'tls://9.9.9.9:853', state: 'up', sinceSeconds: 60, rttSeconds: 0.02, p95Seconds: 0.03, loss: 0.1, reason: null },
      ],
      queries: 10,
      answers: 9,
      failures: [{ reason: 'upstream_timeout', count: 1 }],
      probes: [{ outcome: 'answered', count: 2 }],
      meanSeconds: 0.02,
    },
    {
      name: '[2620:fe::fe]:853',
      url: 'tls://[2620:fe::fe]:853',
      enabled: true,
      state: 'unknown',
      ways: [],
      queries: 0,
      answers: 0,
      failures: [],
      probes: [],
      meanSeconds: null,
    },
  ]
  #events = 0

  status(): Status {
    return STATUS
  }

  configuration() {
    return { file: STATUS.configFile, settings: { workers: 8, listen: { dns: ['127.0.0.1:8053'], admin: false } } }
  }

  async reload({ dryRun }: { readonly dryRun: boolean }): Promise<ReloadOutcome> {
    this.calls.push(`reload ${dryRun}`)
    await this.onReload()
    return this.outcome
  }

  drain(): void {
    this.calls.push('drain')
    this.onDrain()
  }

  listeners() {
    return LISTENERS
  }

  upstreams() {
    return this.upstreamList
  }

  async enableUpstream(name: string, enabled: boolean): Promise<UpstreamStatus | null> {
    this.calls.push(`${enabled ? 'enable' : 'disable'} ${name}`)
    const upstream = this.upstreamList.find((each) => each.name === name)
    return upstream === undefined ? null : { ...upstream, enabled }
  }

  cacheStatistics() {
    return CACHE
  }

  lookUp(name: string) {
    if (name.includes('..')) return null
    const question = { class: 'IN', dnssecOk: false, checkingDisabled: false, network: null }
    return {
      name,
      answers: [{ ...question, type: 'AAAA', rcode: 'NOERROR', secondsLeft: -3, bytes: 140, popularity: 2 }],
      failures: [{ ...question, type: null, extendedError: 22, secondsLeft: 4 }],
    }
  }

  async purge(what: PurgeTarget): Promise<PurgeOutcome | null> {
    this.calls.push(`purge ${what.kind} ${what.kind === 'all' ? '' : what.name}`.trimEnd())
    return what.kind !== 'all' && what.name.includes('..') ? null : { entries: 4, busyPages: 0 }
  }

  certificates() {
    return CERTIFICATES
  }

  async rollOverAccount(name: string): Promise<RollOverOutcome> {
    if (name === 'dns.example.net') return { outcome: 'done' }
    if (name !== 'localhost') return { outcome: 'unknown' }
    return { outcome: 'failed', message: 'Cannot change the key of an ACME account: the certificate comes from elsewhere: localhost' }
  }

  async renewCertificate(name: string): Promise<RenewalOutcome> {
    this.calls.push(`renew ${name}`)
    return this.renewal
  }

  unreadiness() {
    return this.reasons
  }

  metrics(): string {
    return this.renderMetrics()
  }

  follow(listener: (event: ControlEvent) => void): () => void {
    this.followers.add(listener)
    return () => void this.followers.delete(listener)
  }

  /** Something happens. */
  emit(message = 'the configuration was applied'): ControlEvent {
    const event: ControlEvent = { id: ++this.#events, at: NOW, type: 'reload', message, facts: { changes: 1, dryRun: false, by: null } }
    for (const follower of this.followers) follower(event)
    return event
  }
}
