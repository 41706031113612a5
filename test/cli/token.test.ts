import assert from 'node:assert/strict'
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { describe } from 'node:test'
import { readAccessTokens } from '../../gateway/assembly/access-tokens.ts'
import { Output } from '../../gateway/cli/output.ts'
import { runToken } from '../../gateway/cli/token-run.ts'
import { digestOf } from '../../net/token.ts'
import { temporaryDirectory } from '../harness/temporary.ts'

function recorder() {
  let text = ''
  const write = (piece: string): void => {
    text += piece
  }
  const output = new Output({ out: write, err: write, colour: false })
  return { output, read: () => text }
}

const tokenIn = (text: string) => /^token +([a-z2-7]{26})$/m.exec(text)?.[1] ?? assert.fail(text)

describe('atlas-dns token', () => {
  test('shows a token once, and adds its SHA-256 to the file, which only its owner can read', (t) => {
    const file = join(temporaryDirectory(t), 'tokens.txt')
    const { output, read } = recorder()
    runToken('alice-phone', { file }, output)
    const token = tokenIn(read())
    assert.deepEqual(readAccessTokens(file), [{ name: 'alice-phone', digest: digestOf(token) }])
    assert.doesNotMatch(readFileSync(file, 'utf8'), new RegExp(token))
    assert.equal(statSync(file).mode & 0o777, 0o600)
    assert.match(read(), new RegExp(`once access\\.tokens names ${file}`))
  })

  test('keeps what is in the file, and its mode, whether its last line has an end or not', (t) => {
    const file = join(temporaryDirectory(t), 'tokens.txt')
    writeFileSync(file, `# ours\nbob sha256:${'b'.repeat(64)}`)
    chmodSync(file, 0o640)
    const { output, read } = recorder()
    runToken('alice', { file }, output)
    runToken('carol', { file }, output)
    assert.deepEqual(
      readAccessTokens(file).map(({ name }) => name),
      ['bob', 'alice', 'carol'],
    )
    assert.match(readFileSync(file, 'utf8'), /^# ours\n/)
    assert.equal(statSync(file).mode & 0o777, 0o640)
    assert.equal(new Set(read().match(/^token .*$/gm)).size, 2)
  })

  test('finds the file by the configuration, and says what to paste into clients', (t) => {
    const directory = temporaryDirectory(t)
    const config = join(directory, 'atlas.yaml')
    const lines = [
      'public: { name: dns.example.net, ports: { doh: 443 } }',
      'doh: { paths: [/d/] }',
      'access: { tokens: { file: sub.txt } }',
    ]
    writeFileSync(config, lines.join('\n'))
    const { output, read } = recorder()
    runToken('alice', { config }, output)
    const token = tokenIn(read())
    assert.deepEqual(read().split('\n').slice(1, 3), [
      `DNS over HTTPS  https://dns.example.net/d/${token}`,
      `DNS over TLS    ${token}.dns.example.net`,
    ])
    assert.match(read(), /from the next `atlas-dns reload` on/)
    assert.equal(readAccessTokens(join(directory, 'sub.txt')).length, 1)
  })

  for (const [name, content, problem] of [
    ['alice', `alice sha256:${'a'.repeat(64)}\n`, /^Cannot make a token for alice: \S+ has one/],
    ['al ice', '', /^Cannot make a token: <name>: expected at most 64 letters.*received "al ice"$/],
    ['bob', 'what is this\n', /^Cannot use the access tokens in \S+:1:6: expected sha256:/],
  ] as const) {
    test(`changes nothing: ${problem.source}`, (t) => {
      const file = join(temporaryDirectory(t), 'tokens.txt')
      writeFileSync(file, content)
      const { output, read } = recorder()
      assert.throws(() => runToken(name, { file }, output), { message: problem })
      assert.deepEqual([readFileSync(file, 'utf8'), read()], [content, ''])
    })
  }

  test('has to be told where', () => {
    assert.throws(() => runToken('alice', {}, recorder().output), { code: 'ATLAS_USAGE', message: /expected --file, or a --config/ })
    assert.throws(() => runToken('alice', { file: '/nonexistent/tokens.txt' }, recorder().output), {
      code: 'ATLAS_CONFIG',
      message: /^Cannot add the token to \/nonexistent\/tokens\.txt: /,
    })
  })
})
