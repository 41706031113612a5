import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, describe } from 'node:test'
import { nameText } from '../../dns/text-name.ts'
import { MAX_ROUTES } from '../../gateway/config/knobs.ts'
import { ConfigError, loadConfig } from '../../gateway/config/load.ts'
import { routes } from '../../gateway/config/route-form.ts'

const cwd = mkdtempSync(join(tmpdir(), 'atlas-routes-'))
after(() => rmSync(cwd, { recursive: true }))

/** One route of `suffix`, in single quotes, where YAML changes nothing. */
function load(suffix: string, upstreams = '[corp]') {
  const source = `upstreams: [{ name: corp, url: "udp://192.0.2.1" }]\nroutes: [{ suffix: '${suffix}', upstreams: ${upstreams} }]`
  writeFileSync(join(cwd, 'atlas.yaml'), source)
  return loadConfig({ file: 'atlas.yaml', env: {}, cwd }).config.routes
}

function refuses(message: string, ...parts: Parameters<typeof load>): void {
  assert.throws(
    () => load(...parts),
    (error) => error instanceof ConfigError && error.message === message,
  )
}

describe('loadConfig() and routes', () => {
  for (const suffix of ['corp', '_ldap._tcp.Corp.Example', 'xn--mnchen-3ya.example.', '2.0.192.in-addr.arpa', `${'a'.repeat(63)}.b`, '.']) {
    test(`accepts the suffix ${suffix}`, () => {
      const [route] = load(suffix)
      assert.equal(nameText(route?.suffix ?? assert.fail(), 0), suffix.endsWith('.') ? suffix : `${suffix.toLowerCase()}.`)
    })
  }

  for (const suffix of ['', '*.corp', 'a..b', '.a', '-a.b', 'a-.b', 'a b', 'a\\046b', 'münchen.example', 'a'.repeat(64), '192.0.2.0/24']) {
    test(`refuses the suffix "${suffix}"`, () => {
      const received = JSON.stringify(suffix)
      refuses(`atlas.yaml:2:20: routes[0].suffix: expected a domain name, or "." for all: received ${received}`, suffix)
    })
  }

  for (const suffix of ['onion', 'Onion.', 'x.invalid', 'localhost', 'a.b.localhost', 'resolver.arpa', '_dns.resolver.arpa']) {
    test(`refuses to forward ${suffix}`, () => {
      refuses(`atlas.yaml:2:20: routes[0].suffix: expected a name that may be forwarded: received "${suffix}"`, suffix)
    })
  }

  for (const suffix of ['notonion', 'onion.example', 'local', 'lab.test', '10.in-addr.arpa', 'home.arpa', 'arpa']) {
    test(`forwards ${suffix}`, () => assert.equal(load(suffix).length, 1))
  }

  test('lists the upstreams when none is near', () => {
    refuses('atlas.yaml:2:39: routes[0].upstreams[0]: expected one of corp: received "zzzzzz"', 'a.b', '[zzzzzz]')
  })

  test('refuses more than are reasonable', () => {
    const many = Array.from({ length: MAX_ROUTES + 1 }, (_, i) => ({ suffix: `h${i}.example`, upstreams: ['corp'] }))
    assert.equal(routes.safeParse(many).error?.issues[0]?.message, `expected at most ${MAX_ROUTES} routes`)
    assert.equal(routes.safeParse(many.slice(1)).data?.length, MAX_ROUTES)
  })
})
