import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import fc from 'fast-check'
import { nameText } from '../../dns/text-name.ts'
import { mayForward, SPECIAL_ZONES } from '../../gateway/stages/special-zones.ts'
import { client, type QuestionParts, question, wireName } from '../harness/messages.ts'
import { ask, counts, rcode } from '../harness/pipeline.ts'

const [A, NS, SOA, PTR, MX, TXT, AAAA, DS, SVCB, ANY] = [1, 2, 6, 12, 15, 16, 28, 43, 64, 255]
const [NOERROR, NXDOMAIN] = [0, 3]
const FORWARDED = 'forwarded'
const DO = 0x8000
const ZEROS = '0.'.repeat(31)

interface Said {
  readonly rcode: number
  /** "TYPE data" of the answer section, and the zone whose SOA record denies it. */
  readonly answers: readonly string[]
  readonly zone: string | null
}

/** What is said to one question; FORWARDED when that is for an upstream to say. */
function say(parts: QuestionParts, routed: readonly string[] = []): Said | typeof FORWARDED {
  const { reply, forwarded } = ask(question(parts), client('tcp'), null, routed)
  if (forwarded !== null) return FORWARDED
  assert.ok(reply, 'expected an answer')
  const [, answers = 0, authorities = 0] = counts(reply)
  let at = 12
  const skipName = (): void => {
    while ((reply[at] ?? 0) > 0 && (reply[at] ?? 0) < 0xc0) at += 1 + (reply[at] ?? 0)
    at += (reply[at] ?? 0) >= 0xc0 ? 2 : 1
  }
  skipName()
  at += 4
  const records = Array.from({ length: answers + authorities }, () => {
    const owner = nameText(reply, at)
    skipName()
    const [type, ttl, rdata] = [reply.readUInt16BE(at), reply.readUInt32BE(at + 4), at + 10]
    assert.equal(ttl, 10_800)
    at = rdata + reply.readUInt16BE(at + 8)
    return {
      owner,
      type,
      data: type === NS || type === PTR || type === SOA ? nameText(reply, rdata) : [...reply.subarray(rdata, at)].join('.'),
    }
  })
  const denying = records.slice(answers)
  assert.ok(denying.length <= 1 && denying.every(({ type }) => type === SOA))
  return {
    rcode: rcode(reply),
    answers: records.slice(0, answers).map(({ type, data }) => `${type} ${data}`),
    zone: denying[0]?.owner ?? null,
  }
}

const saysA = (name: string, routed?: readonly string[]) => say({ name, type: A }, routed)
const absent = (zone: string): Said => ({ rcode: NXDOMAIN, answers: [], zone: `${zone}.` })
const noData = (zone: string): Said => ({ rcode: NOERROR, answers: [], zone: `${zone}.` })
const has = (...answers: readonly string[]): Said => ({ rcode: NOERROR, answers, zone: null })

describe('special-use names', () => {
  test('localhost is this machine, whatever is below it (SUN-01, RFC 6761 §6.3)', () => {
    for (const name of ['localhost', 'foo.localhost', 'a.B.LocalHost']) {
      assert.deepEqual(saysA(name), has('1 127.0.0.1'))
      assert.deepEqual(say({ name, type: AAAA }), has(`28 ${'0.'.repeat(15)}1`))
      assert.deepEqual(say({ name, type: ANY }), has('1 127.0.0.1'))
      for (const type of [MX, TXT, NS, DS]) assert.deepEqual(say({ name, type, opt: '', optFlags: DO }), noData('localhost'))
    }
  })

  // SUN-02 RFC 6761 §6.4, SUN-03 RFC 6761 §6.2, SUN-06 RFC 6762 §22.1, SUN-07 RFC 7686 §2, SUN-09 RFC 9476 §2, SUN-12
  for (const zone of ['invalid', 'test', 'local', 'onion', 'alt', '6tisch.arpa', 'eap.arpa', 'eap-noob.arpa']) {
    test(`nothing is in ${zone}, and nobody is asked`, () => {
      for (const name of [zone, zone.toUpperCase(), `x.${zone}`, `a.b.${zone}`]) {
        for (const type of [A, SOA, DS, TXT]) assert.deepEqual(say({ name, type, opt: '', optFlags: DO }), absent(zone), name)
      }
    })
  }

  test('names for documentation, and of NAT64, are ordinary (SUN-04, SUN-11, RFC 8880 §7)', () => {
    for (const name of ['example', 'www.example.com', 'example.net', 'example.org', 'ipv4only.arpa', '170.0.0.192.in-addr.arpa']) {
      assert.equal(saysA(name), FORWARDED, name)
    }
  })

  test('look-alikes are forwarded: whole labels count', () => {
    const names = [
      'notonion',
      'my-local',
      'local.example',
      'onion.com',
      'arpa',
      'xresolver.arpa',
      '',
      'in-addr.arpa',
      'ip6.arpa',
      'xhome.arpa',
    ]
    const addresses = [
      '8.8.8.8.in-addr.arpa',
      '1.0.15.172.in-addr.arpa',
      '1.0.32.172.in-addr.arpa',
      '1.63.100.in-addr.arpa',
      'c.e.f.ip6.arpa',
    ]
    for (const name of [...names, ...addresses, '110.in-addr.arpa', '128.100.in-addr.arpa']) assert.equal(saysA(name), FORWARDED, name)
  })

  test('resolver.arpa has no designated resolvers, and nobody else is asked for them (SUN-10, RFC 9462 §6.4)', () => {
    for (const name of ['_dns.resolver.arpa', 'resolver.arpa', 'x.y.Resolver.Arpa']) {
      for (const type of [SVCB, A, DS]) assert.deepEqual(say({ name, type, opt: '', optFlags: DO }), noData('resolver.arpa'), name)
    }
  })
})

describe('locally served zones', () => {
  const networks = [
    '10.in-addr.arpa',
    '16.172.in-addr.arpa',
    '31.172.in-addr.arpa',
    '168.192.in-addr.arpa',
    '64.100.in-addr.arpa',
    '127.100.in-addr.arpa',
    '0.in-addr.arpa',
    '254.169.in-addr.arpa',
    '2.0.192.in-addr.arpa',
    '100.51.198.in-addr.arpa',
    '113.0.203.in-addr.arpa',
    '255.255.255.255.in-addr.arpa',
    `0.${ZEROS}ip6.arpa`,
    'd.f.ip6.arpa',
    '8.e.f.ip6.arpa',
    '9.e.f.ip6.arpa',
    'a.e.f.ip6.arpa',
    'B.E.F.IP6.ARPA',
    '8.b.d.0.1.0.0.2.ip6.arpa',
    '0.f.f.f.3.ip6.arpa',
  ]
  // SUN-05, SUN-06, SUN-08, SUN-12
  for (const zone of [...networks, '127.in-addr.arpa', 'home.arpa', 'service.arpa']) {
    test(`${zone} is empty (RFC 6303 §3)`, () => {
      const shown = zone.toLowerCase()
      assert.deepEqual(say({ name: zone, type: SOA }), has(`6 ${shown}.`))
      assert.deepEqual(say({ name: zone, type: NS }), has(`2 ${zone}.`))
      assert.deepEqual(say({ name: zone, type: PTR }), noData(shown))
      for (const type of [PTR, A, SOA]) assert.deepEqual(say({ name: `x.7.${zone}`, type }), absent(shown))
    })
  }

  test('deny the longest names', () => {
    const longest = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(52)}.1.${ZEROS}ip6.arpa`
    assert.equal(wireName(longest).length, 255)
    assert.deepEqual(say({ name: longest }), absent(`1.${ZEROS}ip6.arpa`))
  })

  test('the loopback addresses are called localhost, as it is called back', () => {
    for (const name of ['1.0.0.127.in-addr.arpa', `1.${ZEROS}ip6.arpa`]) {
      assert.deepEqual(say({ name, type: PTR }), has('12 localhost.'))
      assert.deepEqual(say({ name, type: ANY }), has('12 localhost.'))
    }
    const zone = '127.in-addr.arpa'
    assert.deepEqual(say({ name: '1.0.0.127.in-addr.arpa', type: TXT }), noData(zone))
    assert.deepEqual(say({ name: `1.${ZEROS}ip6.arpa`, type: SOA }), has(`6 1.${ZEROS}ip6.arpa.`))
    assert.deepEqual(say({ name: '2.0.0.127.in-addr.arpa', type: PTR }), absent(zone))
    assert.deepEqual(say({ name: 'x.1.0.0.127.in-addr.arpa', type: PTR }), absent(zone))
    // RFC 8020 §2: or what is below them could not exist
    for (const name of ['0.0.127.in-addr.arpa', '0.127.in-addr.arpa']) assert.deepEqual(say({ name, type: PTR }), noData(zone))
  })

  test("DS at the apex is the parent zone's to deny, to who can check it (SUN-08, RFC 8375 §4)", () => {
    for (const name of ['home.arpa', 'Service.Arpa', '10.in-addr.arpa', '127.in-addr.arpa']) {
      assert.equal(say({ name, type: DS, opt: '', optFlags: DO }), FORWARDED)
      assert.deepEqual(say({ name, type: DS }), noData(name.toLowerCase()))
      assert.deepEqual(say({ name, type: A, opt: '', optFlags: DO }), noData(name.toLowerCase()))
    }
    assert.deepEqual(say({ name: 'x.home.arpa', type: DS, opt: '', optFlags: DO }), absent('home.arpa'))
    assert.deepEqual(say({ name: '0.0.127.in-addr.arpa', type: DS, opt: '', optFlags: DO }), noData('127.in-addr.arpa'))
  })
})

describe('special-use names that a route sends to upstreams', () => {
  test('are the zone, and all names below it', () => {
    for (const zone of ['10.in-addr.arpa', 'home.arpa', 'test', 'local', 'eap.arpa', '127.in-addr.arpa']) {
      for (const name of [zone, `a.${zone}`, `a.b.${zone}`]) assert.equal(saysA(name, [zone]), FORWARDED, name)
    }
    assert.equal(say({ name: '1.0.0.127.in-addr.arpa', type: PTR }, ['127.in-addr.arpa']), FORWARDED)
    assert.deepEqual(saysA('1.168.192.in-addr.arpa', ['10.in-addr.arpa']), absent('168.192.in-addr.arpa'))
  })

  test('are all zones below a route', () => {
    for (const name of ['5.10.in-addr.arpa', '1.16.172.in-addr.arpa', '9.31.172.in-addr.arpa']) {
      assert.equal(saysA(name, ['in-addr.arpa']), FORWARDED, name)
    }
    assert.equal(saysA('1.16.172.in-addr.arpa', ['172.in-addr.arpa']), FORWARDED)
    assert.equal(saysA('x.a.e.f.ip6.arpa', ['e.f.ip6.arpa']), FORWARDED)
    assert.deepEqual(saysA('x.d.f.ip6.arpa', ['e.f.ip6.arpa']), absent('d.f.ip6.arpa'))
    assert.deepEqual(saysA('resolver.arpa', ['arpa']), noData('resolver.arpa'))
  })

  test('are only names below a route within the zone; those above it exist, and have nothing', () => {
    const routed = ['lab.site.Test', '3.2.10.in-addr.arpa', '0.127.in-addr.arpa']
    for (const name of ['lab.site.test', 'www.LAB.site.test', '1.3.2.10.in-addr.arpa', '1.0.0.127.in-addr.arpa']) {
      assert.equal(say({ name, type: PTR }, routed), FORWARDED, name)
    }
    for (const name of ['www.test', 'xlab.site.test', 'a.site.test']) assert.deepEqual(saysA(name, routed), absent('test'), name)
    for (const name of ['site.test', 'test']) assert.deepEqual(saysA(name, routed), noData('test'), name)
    assert.deepEqual(saysA('2.10.in-addr.arpa', routed), noData('10.in-addr.arpa'))
    assert.deepEqual(saysA('4.2.10.in-addr.arpa', routed), absent('10.in-addr.arpa'))
    assert.deepEqual(say({ name: '10.in-addr.arpa', type: SOA }, routed), has('6 10.in-addr.arpa.'))
    assert.equal(say({ name: '10.in-addr.arpa', type: DS, opt: '', optFlags: DO }, routed), FORWARDED)
    assert.deepEqual(saysA('7.127.in-addr.arpa', routed), absent('127.in-addr.arpa'))
    assert.deepEqual(saysA('127.in-addr.arpa', routed), noData('127.in-addr.arpa'))
  })

  test('are none by the route of everything else', () => {
    for (const name of ['x.local', '1.0.0.10.in-addr.arpa', 'x.home.arpa']) assert.notEqual(saysA(name, ['', 'example']), FORWARDED, name)
  })

  test("are never those that are this machine's own or nobody's", () => {
    for (const name of ['localhost', 'x.invalid', 'x.onion', '_dns.resolver.arpa']) {
      assert.deepEqual(saysA(name, [name, 'onion', 'invalid']), saysA(name), name)
    }
  })

  test('does what a plain search does, for any routes', () => {
    const zones = SPECIAL_ZONES.map(({ apex, mayForward }) => ({ name: (nameText(apex, 0) ?? '').slice(0, -1), mayForward }))
    const isBelow = (name: string, suffix: string) => name === suffix || name.endsWith(`.${suffix}`)
    const naive = (name: string, routed: readonly string[]): boolean => {
      const zone = zones.find((each) => isBelow(name, each.name))
      return zone === undefined || (zone.mayForward && routed.some((suffix) => isBelow(name, suffix)))
    }
    const name = fc
      .tuple(
        fc.array(fc.constantFrom('a', 'b', '0', '1'), { maxLength: 3 }),
        fc.constantFrom('test', '10.in-addr.arpa', '127.in-addr.arpa', 'arpa', 'onion', 'a'),
      )
      .map(([labels, end]) => [...labels, end].join('.'))
    fc.assert(
      fc.property(fc.uniqueArray(name, { maxLength: 5 }), name, (routed, asked) => {
        assert.equal(
          saysA(asked, routed) === FORWARDED,
          naive(
            asked,
            routed.filter((suffix) => mayForward(wireName(suffix))),
          ),
        )
      }),
      { numRuns: 1000 },
    )
  })
})
