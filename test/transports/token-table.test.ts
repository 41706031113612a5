import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { digestOf, tokenPath } from '../../net/token.ts'
import { holderOfName, refusalOf } from '../../transports/access.ts'
import { DohRules, NO_OFFER } from '../../transports/doh/request.ts'
import { TokenTable } from '../../transports/token-table.ts'

const entry = (name: string, token: string) => ({ name, digest: digestOf(token) })
const TABLE = new TokenTable([entry('alice', 'k3j5-a'), entry('bob', 'zz')])
const ADDRESS = new Uint8Array(16)

describe('a table of tokens', () => {
  test('finds whose a token is, however its letters are written, and nobody for anything else', () => {
    const names = ['k3j5-a', 'K3J5-A', 'zz', 'k3j5-', 'k3j5', '', 'k3j5-a.', digestOf('zz')].map((token) => TABLE.holderOf(token)?.name)
    assert.deepEqual(names, ['alice', 'alice', 'bob', undefined, undefined, undefined, undefined, undefined])
  })

  test('knows a holder of another table by name and token', () => {
    const alice = TABLE.holderOf('k3j5-a') ?? assert.fail()
    assert.equal(new TokenTable([entry('alice', 'k3j5-a')]).has(alice), true)
    assert.equal(new TokenTable([entry('alice', 'another')]).has(alice), false)
    assert.equal(new TokenTable([entry('carol', 'k3j5-a')]).has(alice), false)
  })

  test('counts each holder under octets of its own, which are no client’s address', () => {
    const accounts = ['k3j5-a', 'zz'].map((token) => TABLE.holderOf(token)?.account ?? assert.fail())
    assert.deepEqual(
      accounts.map((account) => [account.length, account[0]]),
      [
        [16, 0xff],
        [16, 0xff],
      ],
    )
    assert.notDeepEqual(accounts[0]?.subarray(0, 6), accounts[1]?.subarray(0, 6))
  })
})

describe('who may ask', () => {
  test('has the right address, and where tokens are wanted one of them', () => {
    const access = { has: (address: Uint8Array) => address === ADDRESS, tokens: TABLE }
    const alice = TABLE.holderOf('k3j5-a')
    assert.equal(refusalOf(ADDRESS, alice, access), null)
    assert.equal(refusalOf(ADDRESS, null, access)?.code, 'token_required')
    assert.equal(refusalOf(new Uint8Array(16), alice, access)?.code, 'access_denied')
    assert.equal(refusalOf(ADDRESS, null, { ...access, tokens: null }), null)
    assert.equal(refusalOf(ADDRESS, alice, { ...access, tokens: new TokenTable([]) })?.code, 'token_required', 'no longer')
  })

  test('may have the token as the first label of the server name', () => {
    const access = { has: () => true, tokens: TABLE }
    const names = ['zz.dns.example', 'ZZ.dns.example', 'zz', 'dns.zz', '.zz', ''].map((name) => holderOfName(name, access)?.name)
    assert.deepEqual(names, ['bob', 'bob', undefined, undefined, undefined, undefined])
    assert.equal(holderOfName('zz.dns.example', { has: () => true }), null)
  })

  test('may have it as the last segment of a path, if tokens are taken', () => {
    const rules = (paths: string[], takesTokens: boolean) =>
      new DohRules({ ...NO_OFFER, paths, takesTokens }, { covers: () => true, web: null })
    const taking = rules(['/dns-query', '/dns-query/home', '/d/'], true)
    for (const [path, token] of [
      ['/dns-query', ''],
      ['/dns-query/', null],
      ['/dns-query/zz', 'zz'],
      ['/dns-query/zz/', null],
      ['/dns-query/zz/yy', null],
      ['/dns-query/home', ''],
      ['/dns-query/home/zz', 'zz'],
      ['/d/', ''],
      ['/d/zz', 'zz'],
      ['/dns-queryzz', null],
    ] as const)
      assert.equal(taking.tokenIn(path), token, path)
    assert.equal(rules(['/'], true).tokenIn('/zz'), 'zz')
    assert.equal(rules(['/dns-query'], false).tokenIn('/dns-query/zz'), null)
    assert.deepEqual([tokenPath('/', 'zz'), tokenPath('/dns-query', 'zz')], ['/zz', '/dns-query/zz'])
  })
})
