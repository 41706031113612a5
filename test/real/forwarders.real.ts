import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { freePort, type Holdings, missing, run, start } from '../harness/real.ts'
import { ADDRESS, BIG_COUNT, NAMES, type RealGateway, startGateway, startLab, startUnbound, unboundServer } from './lab.ts'

function dig(port: number, ...rest: readonly string[]): ReturnType<typeof run> {
  return run('dig', ['@127.0.0.1', '-p', String(port), '+tries=1', ...rest])
}

async function assertForwards(port: number): Promise<void> {
  const answer = await dig(port, NAMES.www)
  assert.match(answer.text, /status: NOERROR/, answer.text)
  assert.match(answer.text, new RegExp(`\\sA\\s+${ADDRESS}$`, 'm'), answer.text)
  const big = await dig(port, '+tcp', NAMES.big, 'TXT')
  assert.equal(big.text.match(/^big\.lab\.example\.\s.*\sTXT\s/gm)?.length, BIG_COUNT, big.text)
  const none = await dig(port, `none.${NAMES.www}`)
  assert.match(none.text, /status: NXDOMAIN/, none.text)
}

function stubbyConfig(port: number, { dot, ca }: RealGateway): string {
  return `resolution_type: GETDNS_RESOLUTION_STUB
dns_transport_list: [ GETDNS_TRANSPORT_TLS ]
tls_authentication: GETDNS_AUTHENTICATION_REQUIRED
tls_query_padding_blocksize: 128
edns_client_subnet_private: 1
idle_timeout: 10000
tls_ca_file: "${ca}"
listen_addresses: [ 127.0.0.1@${port} ]
upstream_recursive_servers:
  - address_data: 127.0.0.1
    tls_port: ${dot}
    tls_auth_name: "localhost"
`
}

test('stubby forwards to the gateway over TLS with the certificate checked', { skip: missing('stubby', 'dig') }, async (t) => {
  const { gateway, holdings } = await startLab(t)
  const port = await freePort()
  const file = join(holdings.folder, 'stubby.yml')
  writeFileSync(file, stubbyConfig(port, gateway))
  const stubby = start(holdings, 'stubby', ['-l', '-C', file])
  await stubby.until(/Starting DAEMON/)
  await assertForwards(port)
})

test('unbound and the gateway forward to each other over TLS with the certificate checked', { skip: missing('dig') }, async (t) => {
  const { gateway, holdings } = await startLab(t)
  await assertUnboundForwards(gateway, holdings)
  await assertGatewayForwards(gateway, holdings)
})

async function assertUnboundForwards(gateway: RealGateway, holdings: Holdings): Promise<void> {
  const port = await freePort()
  const forward = `  tls-cert-bundle: "${gateway.ca}"
forward-zone:
  name: "."
  forward-tls-upstream: yes
  forward-addr: 127.0.0.1@${gateway.dot}#localhost
`
  await startUnbound(holdings, 'front', unboundServer(port) + forward)
  await assertForwards(port)
}

/** unbound serves with the gateway's own certificate, and passes on to that gateway. */
async function assertGatewayForwards(gateway: RealGateway, holdings: Holdings): Promise<void> {
  const port = await freePort()
  const identity = join(gateway.state, 'identities/local/localhost')
  const server = `${unboundServer(port)}  tls-port: ${port}
  tls-service-pem: "${identity}/chain.pem"
  tls-service-key: "${identity}/key.pem"
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@${gateway.dns}
`
  await startUnbound(holdings, 'tls', server)
  const upstream = `{ name: lab, url: "tls://127.0.0.1:${port}", serverName: localhost, ca: ${gateway.ca} }`
  const front = await startGateway(holdings, upstream, 'front')
  await assertForwards(front.dns)
}
