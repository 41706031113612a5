import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { createServer } from '../../upstream/dial.ts'
import { freePort, Holdings, missing, start } from '../harness/real.ts'
import { ask, upstreamDependencies } from '../harness/upstream.ts'
import { terms } from '../upstream/servers.ts'

const QUESTIONS = 100

const ZONE = `$TTL 300
@ IN SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 192.0.2.53
www A 192.0.2.80
`

/** Answers over UDP those only who have its cookie. */
function namedConf(folder: string, port: number): string {
  return `options {
  directory "${folder}"; pid-file none; session-keyfile none; recursion no;
  listen-on port ${port} { 127.0.0.1; }; listen-on-v6 { none; };
  answer-cookie yes; require-server-cookie yes;
};
controls { };
zone "example.test" { type primary; file "zone"; };
`
}

/** Has no cookies. */
function unboundConf(folder: string, port: number): string {
  return `server:
  directory: "${folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  verbosity: 1
  interface: 127.0.0.1@${port}
  local-zone: example.test. static
  local-data: "www.example.test. 300 A 192.0.2.80"
`
}

const SERVERS = [
  { name: 'named', args: ['-g', '-c', 'server.conf'], conf: namedConf, ready: /all zones loaded[\s\S]*running/, repeated: 1 },
  { name: 'unbound', args: ['-d', '-c', 'server.conf'], conf: unboundConf, ready: /start of service/, repeated: 0 },
] as const

for (const { name, args, conf, ready, repeated } of SERVERS) {
  test(`${name} is asked with cookies and in letter case at random: everything is answered over UDP`, {
    skip: missing(name),
  }, async (t) => {
    const holdings = new Holdings(t)
    const port = await freePort()
    writeFileSync(join(holdings.folder, 'zone'), ZONE)
    writeFileSync(join(holdings.folder, 'server.conf'), conf(holdings.folder, port))
    await start(holdings, name, args).until(ready)
    const dependencies = upstreamDependencies()
    const options = { name, protocol: 'udp', endpoint: { host: '127.0.0.1', port }, terms: terms() } as const
    const upstream = createServer({ ...options, cookies: true, randomizeCase: true }, dependencies)
    holdings.defer(() => upstream.close())
    for (let i = 0; i < QUESTIONS; i++) {
      const { message } = await ask(upstream, { name: 'www.example.test' })
      assert.ok(message?.includes(Buffer.from([192, 0, 2, 80])))
    }
    // BADCOOKIE for the first one where it has them, and not one question over TCP
    const { sent, answered, ignored, failed } = dependencies.meter.counts
    assert.deepEqual({ sent, answered, ignored, failed }, { sent: QUESTIONS + repeated, answered: QUESTIONS, ignored: 0, failed: [] })
  })
}
