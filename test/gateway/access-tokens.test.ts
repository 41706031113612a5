import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { describe, type TestContext } from 'node:test'
import { readAccessTokens, tokenLine } from '../../gateway/assembly/access-tokens.ts'
import { checkGateway } from '../../gateway/assembly/check.ts'
import { testConfig } from '../harness/gateway.ts'
import { temporaryDirectory } from '../harness/temporary.ts'

const [A, B] = ['a', 'b'].map((digit) => digit.repeat(64)) as [string, string]

function fileWith(t: TestContext, content: string): string {
  const file = join(temporaryDirectory(t), 'tokens.txt')
  writeFileSync(file, content)
  return file
}

describe('the file of access tokens', () => {
  test('has a name and a digest in each line that says something', (t) => {
    const file = fileWith(t, `# phones\r\n\n  alice-phone   sha256:${A.toUpperCase()}  \nbob@example.com sha256:${B}`)
    const entries = readAccessTokens(file)
    assert.deepEqual(entries, [
      { name: 'alice-phone', digest: A },
      { name: 'bob@example.com', digest: B },
    ])
    assert.deepEqual(readAccessTokens(fileWith(t, entries.map(tokenLine).join('\n'))), entries)
    assert.deepEqual(readAccessTokens(fileWith(t, '')), [])
  })

  for (const [content, problem] of [
    [`alice sha256:${A}\n alice sha256:${B}`, ':2:2: expected each name once: received "alice", as in line 1'],
    [`alice sha256:${A}\nbob sha256:${A}`, ':2:1: expected a token of its own: received the one of "alice"'],
    [`al/ice sha256:${A}`, ':1:1: expected a name of at most 64 letters, digits, ".", "_", "@" and "-": received others'],
    [`${'a'.repeat(65)} sha256:${A}`, ':1:1: expected a name of at most 64 letters'],
    ['\nalice k3j5opensesame', ':2:7: expected sha256: and the 64 hexadecimal digits of a token (atlas-dns token): received others'],
    [`alice sha256:${A}0`, ':1:7: expected sha256: and the 64 hexadecimal digits'],
    ['alice', ':1:1: expected sha256: and the 64 hexadecimal digits'],
    [`alice sha256:${A} x`, ':1:79: expected the end of the line: received more'],
  ] as const) {
    test(`is refused: ${problem}`, (t) => {
      const file = fileWith(t, content)
      assert.throws(
        () => readAccessTokens(file),
        ({ code, message }: { code: string; message: string }) => {
          assert.equal(code, 'ATLAS_CONFIG')
          assert.ok(message.startsWith(`Cannot use the access tokens in ${file}${problem}`), message)
          assert.doesNotMatch(message, /opensesame/, 'it may be a token')
          return true
        },
      )
    })
  }

  test('has to be there, and is looked at by `check`, as that of the admin token is', async (t) => {
    const file = join(temporaryDirectory(t), 'tokens.txt')
    const { access, listen } = testConfig([])
    await assert.rejects(
      checkGateway(testConfig([], { access: { ...access, tokenFile: file } })),
      /^OperationalError: Cannot use the access tokens/,
    )
    const admin = { endpoint: { host: '127.0.0.1', port: 0 }, tokenFile: file, hosts: [] }
    await assert.rejects(checkGateway(testConfig([], { listen: { ...listen, admin } })), /^OperationalError: Cannot use the admin token/)
    assert.throws(
      () => readAccessTokens(file),
      new RegExp(`Cannot use the access tokens in ${file}: expected a file: received a path that does not exist`),
    )
  })
})
