import assert from 'node:assert/strict'
import { linkSync, renameSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import test, { describe } from 'node:test'
import type { UpstreamWayStatus } from '../../gateway/admin/control.ts'
import { closeDoor, failureOf, openDoor, reply, runCommand } from './admin-door.ts'
import { APPLIED, CACHE, ENTRIES, REFUSED, STATUS, UPSTREAMS, way } from './recorded.ts'

describe('status', () => {
  test('shows everything within 80 columns', async (t) => {
    const door = await openDoor(t)
    const { out } = await runCommand(['status', '--config', door.config])
    assert.equal(
      out,
      `Atlas DNS 0.1.0, process 4711, up 3 d 4 h: ready
configuration  /etc/atlas/atlas.yaml
state          /var/lib/atlas
last reload    2026-03-01 12:00:00 UTC: applied

WORKER  STATE          BUSY   DELAY  RESTARTS
0       serving      12.0 %  0.4 ms         0
1       not serving  50.0 %   12 ms         2

LISTENER  ADDRESS                                        PROBE  FOUND     TIME
dns       127.0.0.1:53                                   udp    ok      2.1 ms
                                                         tcp    failed       –
doq       [2001:db8:1234:5678:9abc:def0:1234:5678]:8853  –
  udp on 127.0.0.1:53: bound anew 2 times
  tcp on 127.0.0.1:53: no answer within 2 s

TRANSPORT    QUERIES  ANSWERS  HIT RATE  CONNECTIONS
udp        1,234,000      950    94.7 %            –
dot              600       60    50.0 %           34
open queries   12
drops          8: upstream_timeout 7, malformed_message 1

RCODE     ANSWERS    SHARE  HIT RATE
NOERROR       950   94.1 %    94.7 %
NXDOMAIN       50    5.0 %    50.0 %
REFUSED        10    1.0 %         –
all         1,010  100.0 %    92.5 %

cache          12.3 MiB of 64.0 MiB (19.2 %), 1,234,567 entries; 3 evicted, 17
               prefetched, 40 coalesced
`,
    )
    for (const line of out.split('\n')) assert.ok([...line].length <= 80, line)
    assert.deepEqual(door.requests, ['GET /v1/status', 'GET /v1/listeners'])
  })

  test('warns of what is wrong although it is ready', async (t) => {
    const door = await openDoor(t)
    door.answers.set('/v1/status', { ...STATUS, warnings: ['the certificate of a.example (local CA) cannot be renewed'] })
    const { out } = await runCommand(['status', '--config', door.config])
    assert.match(out, /: ready\nwarning {8}the certificate of a\.example \(local CA\) cannot be renewed\nconfiguration/)
  })

  test('says why the gateway is not ready, and what the last reload came to', async (t) => {
    const door = await openDoor(t)
    const lastReload = { at: STATUS.startedAt, outcome: 'refused', message: `${'word '.repeat(20)}\nanother problem` }
    door.answers.set('/v1/status', { ...STATUS, ready: false, reasons: ['no worker serves'], configFile: null, lastReload })
    const { out } = await runCommand(['status', '--config', door.config])
    assert.match(out, /: not ready\n {15}no worker serves\nconfiguration {2}defaults and environment\n/)
    assert.match(out, /last reload {4}2026-02-26 08:00:00 UTC: refused: word.*\n {15}word/)
    assert.doesNotMatch(out, /another problem/)
    door.answers.set('/v1/status', { ...STATUS, draining: true, lastReload: null })
    assert.match((await runCommand(['status', '--config', door.config])).out, /: draining\n[\s\S]*last reload {4}none/)
  })

  test('prints the JSON of the interface, and nothing that a terminal obeys', async (t) => {
    const door = await openDoor(t)
    const hostile = { ...STATUS, version: '\u001b[2J\u009b2J\u202e\u{e0001}\u007f' }
    door.answers.set('/v1/status', hostile)
    const { out } = await runCommand(['status', '--json', '--config', door.config])
    assert.deepEqual(JSON.parse(out), hostile)
    assert.doesNotMatch(out, /[^\P{C}\n]/u)
    assert.deepEqual(door.requests, ['GET /v1/status'])
    const plain = await runCommand(['status', '--config', door.config])
    assert.doesNotMatch(plain.out, /[^\P{C}\n]/u)
  })

  test('is coloured where colours are wanted only', async (t) => {
    const door = await openDoor(t)
    const { out } = await runCommand(['status', '--config', door.config], { colour: true })
    assert.ok(out.includes('\u001b[32mready\u001b[0m'))
    assert.ok(out.includes('\u001b[31mnot serving\u001b[0m'))
  })
})

describe('reload', () => {
  test('shows what changed, what waits for a restart, and warnings beside', async (t) => {
    const door = await openDoor(t)
    door.answers.set('/v1/reload', APPLIED)
    const { out, err } = await runCommand(['reload', '--config', door.config])
    assert.equal(
      out,
      `applied:
  timeouts.query: 4s → 5s
+ listen.dot: 127.0.0.1:8853
- upstreams: {"name":"old","url":"udp://192.0.2.1"}
after a restart only; until then the values in use stay:
  workers: 2 → 3
`,
    )
    assert.equal(err, 'warning: listen.dns[0]: everybody may ask\n')
    assert.deepEqual(door.requests, ['POST /v1/reload?dryRun=false'])
  })

  test('a dry run says what would change', async (t) => {
    const door = await openDoor(t)
    door.answers.set('/v1/reload', { ...APPLIED, outcome: 'planned', restartOnly: [], warnings: [] })
    assert.match((await runCommand(['reload', '--dry-run', '--config', door.config])).out, /^would change:\n {2}timeouts/)
    door.answers.set('/v1/reload', { outcome: 'unchanged', changes: [], restartOnly: [], warnings: [] })
    assert.match((await runCommand(['reload', '--config', door.config])).out, /^nothing to change: the configuration in use is this one\n$/)
    door.answers.set('/v1/reload', { ...APPLIED, outcome: 'unchanged', changes: [] })
    assert.match((await runCommand(['reload', '--config', door.config])).out, /^nothing to change now\nafter a restart only/)
    assert.deepEqual(door.requests, ['POST /v1/reload?dryRun=true', 'POST /v1/reload?dryRun=false', 'POST /v1/reload?dryRun=false'])
  })

  test('a refused one fails with the problems, and says that the configuration stays', async (t) => {
    const door = await openDoor(t)
    door.status = 422
    door.answers.set('/v1/reload', REFUSED)
    const lines = [
      'atlas.yaml:6:1: timeots: unknown key "timeots": did you mean "timeouts"?',
      'ATLAS_STRATEGY: strategy: expected "ordered": received "x"',
      'Nothing was changed: the configuration in use stays.',
    ]
    const { code, message, written } = await failureOf(['reload', '--config', door.config])
    assert.deepEqual([code, message.split('\n'), written.out], ['ATLAS_ADMIN', lines, ''])
    const asJson = await failureOf(['reload', '--json', '--config', door.config])
    assert.deepEqual(JSON.parse(asJson.written.out), REFUSED)
    door.answers.set('/v1/reload', { ...REFUSED, outcome: 'rolled-back', problems: [] })
    const undone = await failureOf(['reload', '--config', door.config])
    assert.equal(undone.message, 'two things are wrong\nWhat had been applied was undone: the configuration in use stays.')
  })

  test('fails when the gateway is busy, and with its error when it is another', async (t) => {
    const door = await openDoor(t)
    door.status = 409
    door.answers.set('/v1/reload', { outcome: 'busy', message: 'another reload is under way' })
    assert.equal((await failureOf(['reload', '--config', door.config])).message, 'Cannot reload: another reload is under way')
    door.status = 500
    door.answers.set('/v1/reload', { error: { code: 'internal', message: 'a defect' } })
    assert.match((await failureOf(['reload', '--config', door.config])).message, /^Cannot POST .*: a defect$/)
  })
})

describe('drain', () => {
  test('asks for it, and waits only when told to', async (t) => {
    const door = await openDoor(t)
    door.answers.set('/v1/drain', { draining: true })
    const { out } = await runCommand(['drain', '--config', door.config])
    assert.equal(out, 'process 4711 drains: it answers what is open, then it ends\n')
    assert.deepEqual(JSON.parse((await runCommand(['drain', '--json', '--config', door.config])).out), { draining: true })
    assert.equal(door.requests.filter((request) => request === 'POST /v1/drain').length, 2)
  })

  test('--wait returns when the socket is gone', async (t) => {
    const door = await openDoor(t)
    let asked = 0
    door.answers.set('/v1/drain', { draining: true })
    door.answers.set('/v1/status', (response: ServerResponse) => {
      reply(response, 200, STATUS)
      // before the drain, twice after it
      if (++asked === 3) response.once('close', () => closeDoor(door))
    })
    const { out } = await runCommand(['drain', '--wait', '--config', door.config])
    assert.deepEqual([out, asked], ['process 4711 has stopped\n', 3])
  })

  test('--wait takes the next process for what it is', async (t) => {
    const door = await openDoor(t)
    door.answers.set('/v1/drain', (response: ServerResponse) => {
      door.answers.set('/v1/status', { ...STATUS, startedAt: '2026-03-02T00:00:00.000Z' })
      reply(response, 202, { draining: true })
    })
    assert.equal((await runCommand(['drain', '--wait', '--config', door.config])).out, 'process 4711 has stopped\n')
  })

  test('--wait takes a socket that a crash left behind for the end, too', async (t) => {
    const door = await openDoor(t)
    door.answers.set('/v1/drain', (response: ServerResponse) => {
      reply(response, 202, { draining: true })
      response.once('close', () => {
        linkSync(door.socketPath, `${door.socketPath}.left`)
        closeDoor(door)
        renameSync(`${door.socketPath}.left`, door.socketPath)
      })
    })
    const words = ['drain', '--wait', '--timeout', '5s', '--config', door.config]
    assert.equal((await runCommand(words)).out, 'process 4711 has stopped\n')
  })

  test('--wait ends at its timeout', async (t) => {
    const door = await openDoor(t)
    door.answers.set('/v1/drain', { draining: true })
    const { code, message } = await failureOf(['drain', '--wait', '--timeout', '150ms', '--config', door.config])
    assert.equal(code, 'ATLAS_ADMIN')
    assert.equal(message, 'Cannot wait any longer: process 4711 drains, and has not stopped within 0.15 s')
    assert.equal((await failureOf(['drain', '--timeout', 'soon', '--config', door.config])).code, 'ATLAS_USAGE')
  })
})

describe('cache', () => {
  test('shows its figures', async (t) => {
    const door = await openDoor(t)
    const text = 'use         12.3 MiB of 64.0 MiB (19.2 %), 1,234,567 entries\nevicted     3\nprefetched  17\ncoalesced   40\n'
    assert.equal((await runCommand(['cache', '--config', door.config])).out, text)
    assert.deepEqual(JSON.parse((await runCommand(['cache', '--json', '--config', door.config])).out), CACHE)
  })

  test('get shows what is known of a name, wherever the options stand', async (t) => {
    const door = await openDoor(t)
    const { out } = await runCommand(['cache', '--config', door.config, 'get', 'www.example.com'])
    assert.equal(
      out,
      `www.example.com.
TYPE  CLASS  FLAGS  NETWORK       KNOWN                       LEFT     SIZE  POPULARITY
A     IN     –      192.0.2.0/24  NOERROR                1 h 2 min    140 B           2
any   IN     DO CD  –             NXDOMAIN          stale for 30 s  2.0 KiB           0
AAAA  IN     –      192.0.2.0/24  failure (EDE 22)             4 s        –           –
`,
    )
    assert.deepEqual(JSON.parse((await runCommand(['cache', 'get', 'a&b.example', '--json', '--config', door.config])).out), ENTRIES)
    assert.deepEqual(door.requests, ['GET /v1/cache/entries?name=www.example.com', 'GET /v1/cache/entries?name=a%26b.example'])
    door.answers.set('/v1/cache/entries', { name: 'a.', answers: [], failures: [] })
    assert.equal((await runCommand(['cache', 'get', 'a', '--config', door.config])).out, 'a.: nothing is known of it\n')
  })

  test('purge throws out exactly what was named', async (t) => {
    const door = await openDoor(t)
    door.answers.set('/v1/cache/entries', { entries: 1, busyPages: 0 })
    const purge = async (...words: string[]) => (await runCommand(['cache', 'purge', ...words, '--config', door.config])).out
    assert.equal(await purge('a.example'), 'a.example: 1 entry thrown out\n')
    assert.equal(await purge('--suffix', 'example'), 'example and below: 1 entry thrown out\n')
    assert.equal(await purge('--all'), 'everything: 1 entry thrown out\n')
    assert.equal(await purge('--all', '--json'), '{\n  "entries": 1,\n  "busyPages": 0\n}\n')
    assert.deepEqual(
      door.requests,
      ['name=a.example', 'suffix=example', 'all=true', 'all=true'].map((query) => `DELETE /v1/cache/entries?${query}`),
    )
    door.requests.length = 0
    for (const words of [[], ['a.example', '--all'], ['--suffix', 'example', '--all']]) {
      assert.equal((await failureOf(['cache', 'purge', ...words, '--config', door.config])).code, 'ATLAS_USAGE')
    }
    assert.deepEqual(door.requests, [])
  })

  test('purge fails when some of the cache could not be looked through', async (t) => {
    const door = await openDoor(t)
    door.answers.set('/v1/cache/entries', { entries: 1200, busyPages: 2 })
    const { message, written } = await failureOf(['cache', 'purge', '--all', '--config', door.config])
    assert.match(message, /^Cannot purge all of it: 2 pages/)
    assert.equal(written.out, 'everything: 1,200 entries thrown out\n')
  })
})

describe('upstreams', () => {
  test('shows them with their failures', async (t) => {
    const door = await openDoor(t)
    const { out } = await runCommand(['upstreams', '--config', door.config])
    assert.equal(
      out,
      `NAME   URL                      STATE     PROBES  QUERIES  ANSWERS   MEAN  FAILURES
quad9  tls://9.9.9.9:853        up            34    1,000      990  21 ms        10  upstream_timeout 9, upstream_network 1
spare  udp://[2001:db8::53]:53  disabled       0        0        0      –         0
`,
    )
    assert.deepEqual(JSON.parse((await runCommand(['upstreams', '--json', '--config', door.config])).out), UPSTREAMS)
    door.answers.set('/v1/upstreams', [])
    assert.match((await runCommand(['upstreams', '--config', door.config])).out, /^no upstream is known/)
  })

  test('shows the ways to one below it, how each of them is, and why', async (t) => {
    const door = await openDoor(t)
    const [quad9 = assert.fail()] = UPSTREAMS
    const ways: readonly UpstreamWayStatus[] = [
      { ...way('quic://dns.quad9.net:853 at 9.9.9.9', 'down'), rttSeconds: null, reason: 'upstream_timeout' },
      { ...way('https://dns.quad9.net:443/dns-query at 9.9.9.9', 'suspect'), reason: 'upstream_network' },
      way('tls://9.9.9.9:853', 'up'),
      { ...way('udp://9.9.9.9:53', 'unknown'), rttSeconds: null },
    ]
    const loop = {
      ...quad9,
      name: 'loop',
      state: 'loop',
      url: 'udp://192.0.2.1:53',
      failures: [],
      ways: [way('udp://192.0.2.1:53', 'loop')],
    }
    const lost = { ...quad9, name: 'lost', state: 'unknown', url: 'tls://dns.example:853', failures: [], ways: [] }
    door.answers.set('/v1/upstreams', [{ ...quad9, failures: [], ways }, loop, lost])
    assert.equal(
      (await runCommand(['upstreams', '--config', door.config])).out,
      `NAME   URL                                             STATE          PROBES  QUERIES  ANSWERS   MEAN  FAILURES
quad9                                                  up                 34    1,000      990  21 ms         0
       quic://dns.quad9.net:853 at 9.9.9.9             down                                         –            upstream_timeout
       https://dns.quad9.net:443/dns-query at 9.9.9.9  in doubt                                 20 ms            upstream_network
       tls://9.9.9.9:853                               up                                       20 ms
       udp://9.9.9.9:53                                not asked yet                                –
loop   udp://192.0.2.1:53                              loop               34    1,000      990  21 ms         0
lost   tls://dns.example:853                           not found          34    1,000      990  21 ms         0
`,
    )
  })

  test('disable and enable ask for it by name, and show how it is then', async (t) => {
    const door = await openDoor(t)
    const [quad9 = assert.fail(), spare = assert.fail()] = UPSTREAMS
    door.answers.set('/v1/upstreams/spare/disable', spare)
    door.answers.set('/v1/upstreams/%5B2620%3Afe%3A%3Afe%5D%3A853/enable', { ...quad9, name: '[2620:fe::fe]:853' })
    assert.equal((await runCommand(['upstreams', 'disable', 'spare', '--config', door.config])).out, 'spare is disabled\n')
    const { out } = await runCommand(['upstreams', 'enable', '[2620:fe::fe]:853', '--config', door.config])
    assert.equal(out, '[2620:fe::fe]:853 is up\n')
    assert.match((await failureOf(['upstreams', 'disable', 'nobody', '--config', door.config])).message, /expected: received/)
  })
})
