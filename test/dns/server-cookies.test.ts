import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { COOKIE_LENGTH, ServerCookies } from '../../dns/server-cookies.ts'
import { sipHash24 } from '../../dns/siphash24.ts'
import { parseAddress } from '../../net/address.ts'
import { hex } from '../harness/messages.ts'

const [PROVEN, UNPROVEN] = [true, false]
/** RFC 9018 appendix A. */
const SECRET = 'e5e973e5a6b2a43f48e7dc849e37bfcf'
const CLIENT = '2464c4abcf10c957'
const ADDRESS = '198.51.100.100'
const TIME = 0x5cf7_9f11

/** The cookie of the answer, and what the client has shown. */
function check(option: string, { address = ADDRESS, now = TIME, secrets = [SECRET] } = {}): [isProven: boolean, cookie: string] {
  const out = new Uint8Array(COOKIE_LENGTH)
  const data = hex(option)
  // somewhere within a message
  const wire = Buffer.concat([Buffer.alloc(5, 0xff), data, Buffer.alloc(3, 0xff)])
  const octets = parseAddress(address) ?? assert.fail()
  const state = new ServerCookies(secrets.map(hex)).check({ wire, at: 5, length: data.length }, octets, now, out)
  return [state, Buffer.from(out).toString('hex')]
}

describe('SipHash-2-4', () => {
  // the reference implementation's vectors: the key is 00 to 0f, the message 00 to n - 1
  for (const [length, expected] of [
    [0, '310e0edd47db6f72'],
    [1, 'fd67dc93c539f874'],
    [7, '37d1018bf50002ab'],
    [8, '6224939a79f5f593'],
    [15, 'e545be4961ca29a1'],
    [20, '98eea21af25cd6be'],
    [32, 'ce7cf2722f512771'],
    [63, '724506eb4c328a95'],
  ] as const) {
    test(`of ${length} octets`, () => {
      const octets = Uint8Array.from({ length: 64 }, (_, i) => i)
      const out = Buffer.alloc(10)
      sipHash24(octets.subarray(0, 16), octets, length, out, 1)
      assert.equal(out.toString('hex'), `00${expected}00`)
    })
  }
})

describe('a server cookie (RFC 9018)', () => {
  test('is made for a client that has none (A.1)', () => {
    assert.deepEqual(check(CLIENT), [UNPROVEN, `${CLIENT}010000005cf79f111f8130c3eee29480`])
  })

  test('is made anew when it is old, and still proves the address (A.2)', () => {
    const first = `${CLIENT}010000005cf79f111f8130c3eee29480`
    assert.deepEqual(check(first, { now: 0x5cf7_a871 }), [PROVEN, `${CLIENT}010000005cf7a871d4a564a1442aca77`])
  })

  test('of another implementation may have something in its reserved octets (A.3)', () => {
    const other = 'fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5'
    const renewed = 'fc93fc62807ddb86010000005cf7a734f4636dc2944e90b1'
    assert.deepEqual(check(other, { address: '203.0.113.203', now: 0x5cf7_8f71 + 100 }), [PROVEN, other])
    assert.equal(check(other, { address: '203.0.113.203', now: 0x5cf7_8f71 + 3600 })[0], PROVEN)
    assert.deepEqual(check('fc93fc62807ddb86', { address: '203.0.113.203', now: 0x5cf7_a734 }), [UNPROVEN, renewed])
  })

  test('of the secret before is accepted, and made anew with the present one (A.4)', () => {
    const old = '22681ab97d52c298010000005cf7c57926556bd0934c72f8'
    const secrets = ['445536bcd2513298075a5d379663c962', 'dd3bdf9344b678b185a6f5cb60fca715']
    const address = '2001:db8:220:1:59de:d0f4:8769:82b8'
    const renewed = '22681ab97d52c298010000005cf7c609a6bb79d16625507a'
    assert.deepEqual(check(old, { address, now: 0x5cf7_c609, secrets }), [PROVEN, renewed])
    assert.equal(check(old, { address, now: 0x5cf7_c609, secrets: secrets.slice(0, 1) })[0], UNPROVEN)
  })

  const COOKIE = `${CLIENT}010000005cf79f111f8130c3eee29480`

  test('comes back as it is while it is young', () => {
    for (const age of [0, 1, 1800, -1, -300]) assert.deepEqual(check(COOKIE, { now: TIME + age }), [PROVEN, COOKIE], String(age))
  })

  test('proves nothing when it is older than an hour, or of a time to come', () => {
    for (const [age, state] of [
      [3600, PROVEN],
      [3601, UNPROVEN],
      [-300, PROVEN],
      [-301, UNPROVEN],
      // RFC 1982: half of all times are later
      [0x8000_0000, UNPROVEN],
    ] as const) {
      const [found, cookie] = check(COOKIE, { now: TIME + age })
      assert.equal(found, state, String(age))
      if (state === UNPROVEN) assert.notEqual(cookie, COOKIE)
    }
  })

  test('counts its time in 32 bits that begin again (RFC 1982)', () => {
    const late = check(CLIENT, { now: 2 ** 32 - 10 })[1]
    assert.equal(check(late, { now: 2 ** 32 + 10 })[0], PROVEN)
    assert.equal(check(late, { now: 2 ** 32 + 3600 })[0], UNPROVEN)
  })

  test('proves nothing when a bit of it, of the client cookie or of the address is another', () => {
    for (let bit = 0; bit < 8 * COOKIE_LENGTH; bit++) {
      const damaged = hex(COOKIE)
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      const [state, cookie] = check(damaged.toString('hex'))
      assert.equal(state, UNPROVEN, String(bit))
      assert.equal(cookie.slice(0, 16), damaged.toString('hex', 0, 8))
    }
    assert.equal(check(COOKIE, { address: '198.51.100.101' })[0], UNPROVEN)
    assert.equal(check(COOKIE, { address: '::c633:6464' })[0], UNPROVEN)
  })

  test('of another length is none of ours', () => {
    for (const rest of ['00'.repeat(8), '00'.repeat(15), '00'.repeat(17), '01'.repeat(32)]) {
      assert.deepEqual(check(`${CLIENT}${rest}`), [UNPROVEN, COOKIE])
    }
  })
})
