import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openLocalCa } from '../../certs/local-ca.ts'
import { findTool, freePort, type Holdings, type Running, start } from '../harness/real.ts'

export interface PebbleOptions {
  /** HMAC keys by their identifiers, in base64url: only who has one gets an account. */
  readonly externalAccounts?: Readonly<Record<string, string>>
  /** Of certificates. */
  readonly lifetimeSeconds?: number
  /** Makes the resolver that the CA asks, in front of pebble-challtestsrv; "host:port". */
  readonly resolver?: (challenges: Pebble['dns']) => Promise<string>
}

export interface Pebble {
  /** URL of its directory. */
  readonly directory: string
  /** PEM file: who gave its server the certificate. */
  readonly caFile: string
  /** URL of its root certificate, which is another one at each start. */
  readonly root: string
  /** URL of pebble-challtestsrv, for set-txt, add-a and others. */
  readonly challenges: string
  /** Where pebble-challtestsrv answers DNS. */
  readonly dns: { readonly host: string; readonly port: number }
  /** Where the CA looks for http-01, and for tls-alpn-01. */
  readonly httpPort: number
  readonly tlsPort: number
  readonly process: Running
}

/** The ACME test server of Let's Encrypt and the DNS server that it asks, on free ports of 127.0.0.1: every name leads there. */
export async function startPebble(holdings: Holdings, options: PebbleOptions = {}): Promise<Pebble> {
  const [port, managementPort, dnsPort, challengePort, httpPort, tlsPort] = await freePorts()
  const stateDir = join(holdings.folder, `pebble-${port}`)
  const ca = await openLocalCa({ stateDir, names: ['localhost'], addresses: ['127.0.0.1'], subdomainsOf: [], now: Date.now() })
  const identity = join(stateDir, 'identities/local/localhost')
  const config = join(stateDir, 'pebble.json')
  const { externalAccounts, lifetimeSeconds = 3600 } = options
  const pebble = {
    listenAddress: `127.0.0.1:${port}`,
    managementListenAddress: `127.0.0.1:${managementPort}`,
    certificate: join(identity, 'chain.pem'),
    privateKey: join(identity, 'key.pem'),
    httpPort,
    tlsPort,
    ocspResponderURL: '',
    externalAccountBindingRequired: externalAccounts !== undefined,
    externalAccountMACKeys: externalAccounts ?? {},
    certificateValidityPeriod: lifetimeSeconds,
  }
  writeFileSync(config, JSON.stringify({ pebble }))
  const dns = `127.0.0.1:${dnsPort}`
  const listening = ['-defaultIPv4', '127.0.0.1', '-defaultIPv6', '', '-dns01', dns, '-management', `127.0.0.1:${challengePort}`]
  const others = ['-http01', '', '-https01', '', '-tlsalpn01', '']
  const resolver = start(holdings, 'pebble-challtestsrv', [...listening, ...others])
  await resolver.until(/Starting management server/)
  const asked = (await options.resolver?.({ host: '127.0.0.1', port: dnsPort })) ?? dns
  const environment = [
    'PEBBLE_VA_NOSLEEP=1',
    // every challenge is looked for; of nonces it rejects one of twenty, as it does by default
    'PEBBLE_AUTHZREUSE=0',
  ]
  const args = ['-config', config, '-dnsserver', asked]
  const server = start(holdings, 'env', [...environment, findTool('pebble') ?? 'pebble', ...args])
  await server.until(/ACME directory available/)
  return {
    directory: `https://localhost:${port}/dir`,
    caFile: ca.caPath,
    root: `https://localhost:${managementPort}/roots/0`,
    challenges: `http://127.0.0.1:${challengePort}`,
    dns: { host: '127.0.0.1', port: dnsPort },
    httpPort,
    tlsPort,
    process: server,
  }
}

/** Different ones: asked for one after the other, the kernel may give the same again. */
async function freePorts(): Promise<[number, number, number, number, number, number]> {
  const ports = new Set<number>()
  while (ports.size < 6) ports.add(await freePort())
  return [...ports] as [number, number, number, number, number, number]
}
