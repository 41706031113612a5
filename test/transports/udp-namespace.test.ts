import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import test from 'node:test'
import { promisify } from 'node:util'

const PROGRAM = new URL('../harness/namespace.ts', import.meta.url).pathname

/** Where this user may have a network of its own, with IPv6. */
function hasNamespaces(): boolean {
  const probe = 'ip link set lo up && ip addr add fd09::9/128 dev lo'
  return process.platform === 'linux' && spawnSync('unshare', ['-rn', 'sh', '-c', probe], { stdio: 'ignore' }).status === 0
}

test('wildcards follow the addresses of a machine, in both families and with zones', {
  skip: hasNamespaces() ? false : 'needs network namespaces: unshare and ip',
}, async () => {
  const { stdout } = await promisify(execFile)('unshare', ['-rn', process.execPath, PROGRAM], { timeout: 30_000 })
  assert.deepEqual(JSON.parse(stdout), {
    sources: ['10.9.0.2', '127.0.0.1', 'fd09::2', 'fe80::9%lo', '10.9.0.3', '10.9.0.3'],
    told: ['appeared 10.9.0.3', 'vanished 10.9.0.3'],
  })
})
