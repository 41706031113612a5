import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import test from 'node:test'
import { promisify } from 'node:util'

const PROGRAM = new URL('../../harness/lossy-namespace.ts', import.meta.url).pathname

/** Where this user may have a network of its own, whose kernel filters packets. */
function hasFilters(): boolean {
  const probe = 'ip link set lo up && tc qdisc add dev lo clsact && tc filter add dev lo egress bpf da bytecode "1,6 0 0 0"'
  return process.platform === 'linux' && spawnSync('unshare', ['-rn', 'sh', '-c', probe], { stdio: 'ignore' }).status === 0
}

test('the network loses a fifth of what is sent to one of three upstreams, and no client an answer', {
  skip: hasFilters() ? false : 'needs network namespaces with packet filters: unshare, ip and tc',
}, async () => {
  const { stdout } = await promisify(execFile)('unshare', ['-rn', process.execPath, PROGRAM], { timeout: 50_000 })
  const { asked, outcomes } = JSON.parse(stdout) as { asked: number; outcomes: { strategy: string; answered: number; lost: number }[] }
  assert.deepEqual(
    outcomes.map(({ strategy, answered }) => ({ strategy, answered })),
    ['ordered', 'round-robin', 'fastest'].map((strategy) => ({ strategy, answered: asked })),
  )
  // the preferred one is the lossy one
  assert.ok((outcomes[0]?.lost ?? 0) > 0, stdout)
})
