import { type ChildProcess, spawn } from 'node:child_process'
import { reasonOf } from '../../../dns/operational-error.ts'
import { readable } from '../../../dns/text-escape.ts'
import { MISSING, NOT_EXECUTABLE } from './hook-program.ts'
import { type ChallengeRecord, ownerText } from './record.ts'
import { NEVER, type RecordWriter } from './record-solver.ts'

/** Of what it writes: the end, which says why it gave up. */
const KEPT_OUTPUT = 8192
const SHOWN_LINES = 3
const SHOWN_CHARACTERS = 500
/** From SIGTERM to SIGKILL. */
const GRACE_MS = 5000
/** How long output is waited for after the end: a process that it has left behind may keep it open. */
const LINGER_MS = 500

export interface HookConfig {
  /** The program, then its arguments; no shell. */
  readonly command: readonly string[]
  readonly timeoutMs: number
}

type Action = 'present' | 'cleanup'

/**
 * Has an executable make and remove the record, called as that of lego's exec provider: `present|cleanup <fqdn> <value>` behind its own
 * arguments.
 */
export class HookWriter implements RecordWriter {
  readonly #config: HookConfig
  /** One call after the other, as lego's: it may read all values of a name, and write them back. Never rejects. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(config: HookConfig) {
    this.#config = config
  }

  async write(record: ChallengeRecord, signal: AbortSignal): Promise<void> {
    await this.#afterOthers(() => this.#run('present', record, signal))
  }

  async erase(record: ChallengeRecord): Promise<void> {
    await this.#afterOthers(() => this.#run('cleanup', record, NEVER))
  }

  #afterOthers(work: () => Promise<void>): Promise<void> {
    const result = this.#last.then(work)
    this.#last = result.catch(() => {})
    return result
  }

  async #run(action: Action, record: ChallengeRecord, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const { command, timeoutMs } = this.#config
    const [program = '', ...args] = command
    const limit = AbortSignal.timeout(timeoutMs)
    const child = spawn(program, [...args, action, ownerText(record), record.value], {
      env: environment(action, record),
      stdio: ['ignore', 'pipe', 'pipe'],
      // a process group of its own: whatever it has started ends with it
      detached: true,
    })
    const ended = await endOf(child, AbortSignal.any([signal, limit]))
    signal.throwIfAborted()
    if (ended.failure === null && !limit.aborted) return
    const reason = limit.aborted ? `it took longer than ${timeoutMs / 1000} s` : ended.failure
    throw new Error(`the hook ${program} has failed (${action}): ${reason}${ended.output === '' ? '' : `: ${ended.output}`}`)
  }
}

/** That of the gateway without its own variables, which may be secrets. */
function environment(action: Action, record: ChallengeRecord): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('ATLAS_'))
  return {
    ...Object.fromEntries(inherited),
    ATLAS_ACME_ACTION: action,
    ATLAS_ACME_DOMAIN: record.identifier.value,
    ATLAS_ACME_RECORD: ownerText(record),
    ATLAS_ACME_VALUE: record.value,
  }
}

interface End {
  /** Null: it has exited with 0. */
  readonly failure: string | null
  /** The last lines of what it wrote. */
  readonly output: string
}

function endOf(child: ChildProcess, signal: AbortSignal): Promise<End> {
  return new Promise((resolve) => {
    let output = Buffer.alloc(0)
    let timer: NodeJS.Timeout | undefined
    const settle = (failure: string | null): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', stop)
      child.stdout?.destroy()
      child.stderr?.destroy()
      resolve({ failure, output: lastLines(output) })
    }
    const stop = (): void => {
      kill(child, 'SIGTERM')
      timer = setTimeout(() => kill(child, 'SIGKILL'), GRACE_MS)
    }
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        output = Buffer.concat([output, chunk]).subarray(-KEPT_OUTPUT)
      })
    }
    child.once('error', (error) => settle(whyNotStarted(error)))
    child.once('exit', (code, killer) => {
      clearTimeout(timer)
      // what it left behind in its group is not to outlive an end by force
      if (signal.aborted) kill(child, 'SIGKILL')
      const failure = code === 0 ? null : code === null ? `ended by ${killer}` : `exit code ${code}`
      timer = setTimeout(() => settle(failure), LINGER_MS)
      child.once('close', () => settle(failure))
    })
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
}

/** The whole group. */
function kill({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, signal)
  } catch {
    // nobody of it is left
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: `${MISSING}, or no interpreter for it`,
  EACCES: NOT_EXECUTABLE,
  ENOEXEC: 'it is no program: a script begins with "#!" and its interpreter',
}

function whyNotStarted(error: Error): string {
  return ('code' in error ? REASONS[String(error.code)] : undefined) ?? reasonOf(error)
}

function lastLines(output: Buffer): string {
  const lines = output
    .toString('latin1')
    .split(/[\r\n]+/)
    .map((line) => readable(Buffer.from(line, 'latin1')).trim())
    .filter((line) => line !== '')
  return lines.slice(-SHOWN_LINES).join(' / ').slice(-SHOWN_CHARACTERS)
}
