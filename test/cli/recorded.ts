import type {
  CachedNameView,
  CacheStatus,
  CertificateStatus,
  ListenerStatus,
  ReloadOutcome,
  Status,
  UpstreamState,
  UpstreamStatus,
  UpstreamWayStatus,
} from '../../gateway/admin/control.ts'

/** What a gateway that has served for a while says at its admin door. */

const NOW = '2026-03-01T12:00:00.000Z'

export const CACHE: CacheStatus = {
  entries: 1_234_567,
  bytesUsed: 12_897_485,
  bytes: 67_108_864,
  evictions: 3,
  prefetches: 17,
  coalesced: 40,
}

export const STATUS: Status = {
  version: '0.1.0',
  pid: 4711,
  startedAt: '2026-02-26T08:00:00.000Z',
  uptimeSeconds: 273_600,
  configFile: '/etc/atlas/atlas.yaml',
  stateDirectory: '/var/lib/atlas',
  ready: true,
  draining: false,
  reasons: [],
  warnings: [],
  lastReload: { at: NOW, outcome: 'applied', message: null },
  workers: [
    { index: 0, serving: true, restarts: 0, eventLoop: { delaySeconds: 0.0004, utilization: 0.12 } },
    { index: 1, serving: false, restarts: 2, eventLoop: { delaySeconds: 0.012, utilization: 0.5 } },
  ],
  traffic: {
    openQueries: 12,
    transports: [
      { transport: 'udp', queries: 1_234_000, connections: 0 },
      { transport: 'dot', queries: 600, connections: 34 },
    ],
    answers: [
      { transport: 'udp', rcode: 'NOERROR', source: 'cache', count: 900 },
      { transport: 'udp', rcode: 'NOERROR', source: 'upstream', count: 50 },
      { transport: 'dot', rcode: 'NXDOMAIN', source: 'stale', count: 25 },
      { transport: 'dot', rcode: 'NXDOMAIN', source: 'upstream', count: 25 },
      { transport: 'dot', rcode: 'REFUSED', source: 'local', count: 10 },
    ],
    drops: [
      { reason: 'malformed_message', count: 1 },
      { reason: 'upstream_timeout', count: 7 },
      { reason: 'overloaded', count: 0 },
    ],
  },
  cache: CACHE,
}

export const LISTENERS: readonly ListenerStatus[] = [
  {
    kind: 'dns',
    address: '127.0.0.1:53',
    probes: [
      { transport: 'udp', outcome: 'ok', reason: null, at: NOW, seconds: 0.0021, rebinds: 2 },
      { transport: 'tcp', outcome: 'failed', reason: 'no answer within 2 s', at: NOW, seconds: null, rebinds: 0 },
    ],
  },
  { kind: 'doq', address: '[2001:db8:1234:5678:9abc:def0:1234:5678]:8853', probes: [] },
]

export const UPSTREAMS: readonly UpstreamStatus[] = [
  {
    name: 'quad9',
    url: 'tls://9.9.9.9:853',
    enabled: true,
    state: 'up',
    ways: [way('tls://9.9.9.9:853', 'up')],
    queries: 1000,
    answers: 990,
    failures: [
      { reason: 'upstream_timeout', count: 9 },
      { reason: 'upstream_network', count: 1 },
      { reason: 'upstream_malformed', count: 0 },
    ],
    probes: [
      { outcome: 'answered', count: 30 },
      { outcome: 'upstream_timeout', count: 4 },
    ],
    meanSeconds: 0.0213,
  },
  {
    name: 'spare',
    url: 'udp://[2001:db8::53]:53',
    enabled: false,
    state: 'unknown',
    ways: [way('udp://[2001:db8::53]:53', 'unknown')],
    queries: 0,
    answers: 0,
    failures: [],
    probes: [],
    meanSeconds: null,
  },
]

export function way(url: string, state: UpstreamState): UpstreamWayStatus {
  return { url, state, sinceSeconds: 60, rttSeconds: 0.02, p95Seconds: 0.03, loss: 0, reason: null }
}

export const CERTIFICATES: readonly CertificateStatus[] = [
  certificate('/etc/atlas/good.pem', 90),
  certificate('/etc/atlas/soon.pem', 13),
  certificate('/etc/atlas/late.pem', -2),
]

export function certificate(source: string, daysLeft: number): CertificateStatus {
  const names = ['a.example', 'b.example', 'c.example', 'd.example', 'e.example']
  const validity = { notBefore: '2026-02-01T00:00:00.000Z', notAfter: '2026-05-01T00:00:00.000Z' }
  return {
    name: 'a.example',
    source,
    names: [...names, '192.0.2.1'],
    present: [
      { key: 'ECDSA P-256', names, addresses: ['192.0.2.1'], ...validity, daysLeft, endsSoon: daysLeft < 14, fingerprint: 'AB:CD:EF' },
    ],
    renewsAt: null,
    problem: null,
    renewal: null,
    authority: null,
  }
}

const QUESTION = { class: 'IN', dnssecOk: false, checkingDisabled: false, network: '192.0.2.0/24' }

export const ENTRIES: CachedNameView = {
  name: 'www.example.com.',
  answers: [
    { ...QUESTION, type: 'A', rcode: 'NOERROR', secondsLeft: 3725, bytes: 140, popularity: 2 },
    {
      ...QUESTION,
      type: null,
      dnssecOk: true,
      checkingDisabled: true,
      network: null,
      rcode: 'NXDOMAIN',
      secondsLeft: -30,
      bytes: 2048,
      popularity: 0,
    },
  ],
  failures: [{ ...QUESTION, type: 'AAAA', extendedError: 22, secondsLeft: 4 }],
}

export const APPLIED: ReloadOutcome = {
  outcome: 'applied',
  changes: [
    { path: 'timeouts.query', from: '4s', to: '5s' },
    { path: 'listen.dot', from: null, to: '127.0.0.1:8853' },
    { path: 'upstreams', from: { name: 'old', url: 'udp://192.0.2.1' }, to: null },
  ],
  restartOnly: [{ path: 'workers', from: 2, to: 3 }],
  warnings: ['listen.dns[0]: everybody may ask'],
}

export const REFUSED: ReloadOutcome = {
  outcome: 'refused',
  code: 'ATLAS_CONFIG',
  message: 'two things are wrong',
  problems: [
    { where: 'atlas.yaml:6:1', path: 'timeots', message: 'unknown key "timeots": did you mean "timeouts"?' },
    { where: 'ATLAS_STRATEGY', path: 'strategy', message: 'expected "ordered": received "x"' },
  ],
}
