import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { createHookSolver } from '../../../../certs/acme/dns-01/solver.ts'
import { temporaryDirectory } from '../../../harness/temporary.ts'
import { txtData, UpdateServer } from '../../../harness/update-server.ts'
import { challengeFor, dependencies, txtOf } from './challenges.ts'

const CHALLENGE = challengeFor('www.example.net')
const RECORD = '_acme-challenge.www.example.net'

/** A hook that is this script of a shell, and a server on which the record is there. */
async function hook(t: TestContext, script: string, { timeoutMs = 20_000, mode = 0o755 } = {}) {
  const directory = temporaryDirectory(t)
  const program = join(directory, 'hook')
  writeFileSync(program, script, { mode })
  const server = await UpdateServer.start({
    zones: ['example.net'],
    records: { [`${RECORD} 16`]: [txtData(txtOf(CHALLENGE))] },
  })
  t.after(() => server[Symbol.asyncDispose]())
  const deps = dependencies()
  const solver = createHookSolver({ command: [program, '--zone', 'a b; $HOME'], timeoutMs, servers: [server.endpoint] }, deps)
  return { solver, deps, server, program, directory, written: () => readFileSync(join(directory, 'out'), 'utf8') }
}

test('a hook is called as that of lego, without a shell, and without the secrets of the gateway', async (t) => {
  process.env.ATLAS_SECRET_THING = 'secret'
  process.env.OTHER_THING = 'kept'
  t.after(() => {
    delete process.env.ATLAS_SECRET_THING
    delete process.env.OTHER_THING
  })
  const script = `#!/bin/sh
{ for each in "$@"; do echo "$each"; done; env | grep -E '^(ATLAS_|OTHER_THING)' | sort; } >>"$(dirname "$0")/out"`
  const { solver, written, deps } = await hook(t, script)
  await solver.present(CHALLENGE)
  await solver.remove(CHALLENGE)
  const call = (action: string) =>
    [
      '--zone',
      'a b; $HOME',
      action,
      `${RECORD}.`,
      txtOf(CHALLENGE),
      `ATLAS_ACME_ACTION=${action}`,
      'ATLAS_ACME_DOMAIN=www.example.net',
      `ATLAS_ACME_RECORD=${RECORD}.`,
      `ATLAS_ACME_VALUE=${txtOf(CHALLENGE)}`,
      'OTHER_THING=kept',
    ].join('\n')
  assert.equal(written(), `${call('present')}\n${call('cleanup')}\n`)
  assert.deepEqual(deps.left, [])
})

test('a hook that fails says why, in few lines without control characters', async (t) => {
  const { solver, deps } = await hook(
    t,
    '#!/bin/sh\nyes filler | head -n 100000\nprintf "one\\ntwo\\033[2J\\r\\nthree\\n\\nfour\\n" >&2\nexit 3\n',
  )
  await assert.rejects(solver.present(CHALLENGE), {
    code: 'ATLAS_CERTIFICATE',
    message: /is ours by dns-01: the hook \/.*\/hook has failed \(present\): exit code 3: two\[2J \/ three \/ four$/,
  })
  await solver.remove(CHALLENGE)
  assert.match(deps.left.join(), /^Cannot remove .* has failed \(cleanup\): exit code 3/)
})

test('a hook that writes one endless line keeps only the end of it', async (t) => {
  const { solver } = await hook(t, '#!/bin/sh\nhead -c 300000 /dev/zero | tr "\\0" x\nexit 1\n')
  await assert.rejects(solver.present(CHALLENGE), /exit code 1: x{500}$/)
})

test('a hook that cannot be started says why', async (t) => {
  const cases = [
    [await hook(t, '#!/bin/sh\n', { mode: 0o644 }), /it may not be executed$/],
    [await hook(t, '#!/nonexistent/interpreter\n'), /there is no such program, or no interpreter for it$/],
  ] as const
  for (const [{ solver }, message] of cases) await assert.rejects(solver.present(CHALLENGE), message)
  const { solver, program } = await hook(t, 'no first line\n')
  // the C library may try a shell
  await assert.rejects(solver.present(CHALLENGE), /it is no program: a script begins with "#!" and its interpreter|exit code 127/)
  assert.ok(existsSync(program))
})

/** A server that learns when the last process has ended that holds a connection to it. */
test('a hook that takes too long ends, and with it what it has started', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  // the child ignores SIGTERM, and lives on in the same group
  const child = `require('node:net').connect(${port}, '127.0.0.1'); process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)`
  const script = `#!/bin/sh\necho working\n"${process.execPath}" -e "${child}" &\ntrap 'echo stopped; exit 0' TERM\nwait\n`
  const { solver } = await hook(t, script, { timeoutMs: 1500 })
  const connected = once(server, 'connection')
  const outcome = assert.rejects(solver.present(CHALLENGE), /it took longer than 1\.5 s: working \/ stopped$/)
  const [socket] = await connected
  socket.on('error', () => {})
  const ended = once(socket.resume(), 'close')
  await outcome
  await ended
})

test('close() ends a hook', async (t) => {
  const { solver, directory } = await hook(t, '#!/bin/sh\n: >"$(dirname "$0")/out"\nexec sleep 1000\n')
  const outcome = assert.rejects(solver.present(CHALLENGE), /the gateway gives it up$/)
  while (!existsSync(join(directory, 'out'))) await new Promise((resolve) => setImmediate(resolve))
  await solver.close()
  await outcome
})

test('a hook is called for one record after the other: it may read all of a name, and write them back', async (t) => {
  const { solver } = await hook(t, '#!/bin/sh\nmkdir "$(dirname "$0")/lock" || exit 1\nsleep 0.2\nrmdir "$(dirname "$0")/lock"\n')
  const presented = [solver.present(CHALLENGE), solver.present(CHALLENGE)]
  for (const { status } of await Promise.allSettled(presented)) assert.equal(status, 'fulfilled')
})

test('a hook that is late, or fails, keeps the next call from nothing', async (t) => {
  const { solver } = await hook(t, '#!/bin/sh\ncd "$(dirname "$0")"\n[ -e second ] && exit 0\n: >second\nexit 1\n')
  const outcomes = await Promise.allSettled([solver.present(CHALLENGE), solver.present(CHALLENGE)])
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['rejected', 'fulfilled'],
  )
})

test('a hook that leaves somebody behind with its output is not waited for', async (t) => {
  const { solver, directory } = await hook(t, '#!/bin/sh\nsleep 1000 &\necho $! >"$(dirname "$0")/out"\n')
  await solver.present(CHALLENGE)
  process.kill(Number(readFileSync(join(directory, 'out'), 'utf8')))
})
