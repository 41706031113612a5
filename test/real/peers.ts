import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { issue } from '../certs/issue.ts'
import { freePort, type Holdings, type Running, start } from '../harness/real.ts'
import { startUnbound, unboundServer, ZONE, ZONE_FILE } from './lab.ts'

/** How the gateway can ask them. */
export type Protocol = 'udp' | 'tcp' | 'tls'

/** Where a peer serves, and what it needs for that. */
interface Place {
  readonly holdings: Holdings
  /** UDP and TCP. */
  readonly plain: number
  readonly tls: number
  /** Paths of PEM files. */
  readonly certificate: string
  readonly key: string
  /** The port of the server that has the zone. */
  readonly zone: number
}

interface PeerKind {
  /** What has to be installed. */
  readonly tool: string
  /** Resolves once it serves. */
  readonly start: (place: Place) => Promise<Running>
}

/** Servers of the distribution. nsd has the zone of the lab; the others ask it. None needs the internet, a user or a folder of its own. */
export const PEERS: Readonly<Record<string, PeerKind>> = {
  nsd: {
    tool: 'nsd',
    start: (place) => startPeer(place, 'nsd', { config: nsdConfig(place), args: (file) => ['-d', '-c', file], ready: /nsd started/ }),
  },
  unbound: { tool: 'unbound', start: (place) => startUnbound(place.holdings, `peer-${place.plain}`, unboundConfig(place)) },
  'knot-resolver': { tool: 'kresd', start: startKresd },
  bind: {
    tool: 'named',
    start: (place) =>
      startPeer(place, 'named', { config: namedConfig(place), args: (file) => ['-g', '-n', '1', '-c', file], ready: /running$/m }),
  },
  dnsdist: {
    tool: 'dnsdist',
    start: (place) =>
      startPeer(place, 'dnsdist', {
        config: dnsdistConfig(place),
        args: (file) => ['--supervised', '--disable-syslog', '-C', file],
        ready: /^Console ACL/m,
      }),
  },
}

/** The name in the certificates of the peers. */
const SERVER_NAME = 'peer.lab.example'

export interface RunningPeer {
  readonly name: string
  /** It as an upstream in the gateway's configuration. */
  upstream(protocol: Protocol): string
}

/** Starts all of them, with certificates of a CA of the test. */
export async function startPeers(holdings: Holdings): Promise<readonly RunningPeer[]> {
  const [ca, certificate, key] = ['peers-ca.pem', 'peers.pem', 'peers.key'].map((name) => join(holdings.folder, name)) as [
    string,
    string,
    string,
  ]
  const authority = await issue({ subject: 'O=peers', isCa: true })
  const leaf = await issue({ names: [SERVER_NAME], issuer: authority })
  writeFileSync(ca, authority.certPem)
  writeFileSync(certificate, leaf.certPem)
  writeFileSync(key, leaf.keyPem, { mode: 0o600 })
  const zone = await freePort()
  return Promise.all(
    Object.entries(PEERS).map(async ([name, peer]) => {
      const plain = peer.tool === 'nsd' ? zone : await freePort()
      const tls = await freePort()
      await peer.start({ holdings, plain, tls, certificate, key, zone })
      return {
        name,
        upstream: (protocol) =>
          protocol === 'tls'
            ? `{ name: ${name}, url: "tls://127.0.0.1:${tls}", serverName: ${SERVER_NAME}, ca: ${ca} }`
            : `{ name: ${name}, url: "${protocol}://127.0.0.1:${plain}" }`,
      }
    }),
  )
}

interface Launch {
  readonly config: string
  readonly args: (file: string) => readonly string[]
  /** What it writes once it serves. */
  readonly ready: RegExp
}

async function startPeer({ holdings, plain }: Place, tool: string, { config, args, ready }: Launch): Promise<Running> {
  const file = join(holdings.folder, `${tool}-${plain}.conf`)
  writeFileSync(file, config)
  const running = start(holdings, tool, args(file))
  await running.until(ready)
  return running
}

function nsdConfig({ holdings: { folder }, plain, tls, certificate, key }: Place): string {
  writeFileSync(join(folder, 'lab.zone'), ZONE_FILE)
  return `server:
  ip-address: 127.0.0.1@${plain}
  ip-address: 127.0.0.1@${tls}
  tls-port: ${tls}
  tls-service-pem: "${certificate}"
  tls-service-key: "${key}"
  do-ip6: no
  username: ""
  chroot: ""
  zonesdir: "${folder}"
  xfrdir: "${folder}"
  zonelistfile: "${folder}/nsd-zones"
  database: ""
  xfrdfile: ""
  pidfile: ""
  server-count: 1
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: ${ZONE}
  zonefile: lab.zone
`
}

function unboundConfig({ plain, tls, certificate, key, zone }: Place): string {
  return `${unboundServer(plain)}  interface: 127.0.0.1@${tls}
  tls-port: ${tls}
  tls-service-pem: "${certificate}"
  tls-service-key: "${key}"
stub-zone:
  name: ${ZONE}
  stub-addr: 127.0.0.1@${zone}
remote-control:
  control-enable: no
`
}

/** The last line is there when the addresses are bound. */
function kresdConfig({ plain, tls, certificate, key, zone }: Place): string {
  return `net.listen('127.0.0.1', ${plain}, { kind = 'dns' })
net.listen('127.0.0.1', ${tls}, { kind = 'tls' })
net.tls('${certificate}', '${key}')
modules.unload('detect_time_skew')
modules.unload('priming')
trust_anchors.remove('.')
cache.size = 10 * MB
policy.add(policy.suffix(policy.STUB('127.0.0.1@${zone}'), { todname('${ZONE}') }))
io.stderr:write('listening\\n')
`
}

function startKresd(place: Place): Promise<Running> {
  const folder = join(place.holdings.folder, `kresd-${place.plain}`)
  mkdirSync(folder)
  return startPeer(place, 'kresd', { config: kresdConfig(place), args: (file) => ['-n', '-c', file, folder], ready: /^listening$/m })
}

function namedConfig({ holdings: { folder }, plain, tls, certificate, key, zone }: Place): string {
  return `tls lab { cert-file "${certificate}"; key-file "${key}"; };
controls { };
options {
  directory "${folder}";
  pid-file none;
  session-keyfile none;
  lock-file none;
  listen-on-v6 { none; };
  listen-on port ${plain} { 127.0.0.1; };
  listen-on port ${tls} tls lab { 127.0.0.1; };
  dnssec-validation no;
};
zone "${ZONE}" { type forward; forward only; forwarders { 127.0.0.1 port ${zone}; }; };
`
}

function dnsdistConfig({ plain, tls, certificate, key, zone }: Place): string {
  return `setLocal('127.0.0.1:${plain}')
addTLSLocal('127.0.0.1:${tls}', '${certificate}', '${key}')
newServer({ address = '127.0.0.1:${zone}' }):setUp()
setSecurityPollSuffix('')
`
}
