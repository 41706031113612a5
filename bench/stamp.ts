import { execFileSync } from 'node:child_process'
import { cpus, totalmem } from 'node:os'

const ROOT = new URL('..', import.meta.url)
const GIB = 1024 ** 3

/** Where, with what and when something was measured. */
export function stamp(): string {
  const [cpu] = cpus()
  const machine = `${cpus().length} cores of ${cpu?.model ?? process.arch}, ${(totalmem() / GIB).toFixed(0)} GiB`
  return `${new Date().toISOString().slice(0, 10)} on ${machine}, Node.js ${process.version}, commit ${commit()}`
}

function commit(): string {
  try {
    const head = git('rev-parse', '--short', 'HEAD').trim()
    return git('status', '--porcelain', '--untracked-files=no') === '' ? head : `${head} with changes`
  } catch {
    // an unpacked archive
    return 'unknown'
  }
}

function git(...args: readonly string[]): string {
  return execFileSync('git', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
}
