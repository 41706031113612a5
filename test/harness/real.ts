import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

/** Debian keeps servers such as unbound where only root's PATH looks. */
const FOLDERS = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/local/sbin'].filter((folder) => folder !== '')
const READY_MS = 20_000
const RUN_MS = 30_000
const MAIN = fileURLToPath(new URL('../../gateway/main.ts', import.meta.url))
/** Nothing of the caller's: no ATLAS_*, no ~/.curlrc, no proxy, no other language. */
const ENVIRONMENT = {
  PATH: FOLDERS.join(':'),
  HOME: '/nonexistent',
  LC_ALL: 'C',
  NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
}

export function findTool(name: string): string | null {
  for (const folder of FOLDERS) {
    try {
      const path = join(folder, name)
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // look in the next one
    }
  }
  return null
}

function requireTool(name: string): string {
  const path = findTool(name)
  if (path === null) throw new Error(`Cannot run ${name}: it is not installed`)
  return path
}

/** For a test's `skip`: why it cannot run here. Never a reason under CI, where a missing tool is a failure. */
export function missing(...names: readonly string[]): string | false {
  if (process.env.CI === 'true') return false
  const name = ['unbound', ...names].find((each) => findTool(each) === null)
  return name === undefined ? false : `skipped: ${name} is not installed`
}

/** What one test holds; all of it ends with the test, last first, whether it passed or not. */
export class Holdings {
  /** A folder of the test's own, outside the repository. */
  readonly folder = mkdtempSync(join(tmpdir(), 'atlas-real-'))
  readonly #ends: (() => unknown)[] = [() => rmSync(this.folder, { recursive: true, force: true })]

  constructor(t: TestContext) {
    t.after(async () => {
      const failures: unknown[] = []
      for (const end of this.#ends.toReversed()) {
        try {
          await end()
        } catch (error) {
          failures.push(error)
        }
      }
      if (failures.length > 0) throw new AggregateError(failures, 'Cannot end what the test started')
    })
  }

  defer(end: () => unknown): void {
    this.#ends.push(end)
  }
}

/** Started and not yet ended, for a test process that itself has to end early. */
const alive = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of alive) child.kill('SIGKILL')
})

/** A process and all it has written so far. */
export class Running {
  readonly #child: ChildProcess
  readonly #exit: Promise<number | null>
  readonly #chunks: Buffer[] = []
  #text = ''
  #ended = false

  constructor(command: string, args: readonly string[], folder?: string) {
    this.#child = spawn(command, args, { env: ENVIRONMENT, stdio: 'pipe', ...(folder === undefined ? {} : { cwd: folder }) })
    alive.add(this.#child)
    this.#child.stdin?.on('error', () => {})
    this.#child.stdout?.on('data', (chunk: Buffer) => this.#chunks.push(chunk))
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#text += chunk.toString('latin1')
        this.#child.emit('text')
      })
    }
    this.#exit = once(this.#child, 'close').then(([code]) => {
      this.#ended = true
      alive.delete(this.#child)
      this.#child.emit('text')
      return code as number | null
    })
  }

  /** Standard output and standard error as they came. */
  get text(): string {
    return this.#text
  }

  get stdout(): Buffer {
    return Buffer.concat(this.#chunks)
  }

  /** The exit code; null when a signal ended it. */
  get exit(): Promise<number | null> {
    return this.#exit
  }

  input(data: string | Uint8Array): void {
    this.#child.stdin?.end(data)
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exit
  }

  /** Waits until the output matches. */
  async until(pattern: RegExp, timeoutMs: number = READY_MS): Promise<RegExpExecArray> {
    const signal = AbortSignal.timeout(timeoutMs)
    for (;;) {
      const match = pattern.exec(this.#text)
      if (match !== null) return match
      if (this.#ended) throw new Error(`Process ended before ${pattern}: wrote ${this.#text}`)
      await once(this.#child, 'text', { signal }).catch((cause: unknown) => {
        throw new Error(`Cannot see ${pattern} within ${timeoutMs} ms: wrote ${this.#text}`, { cause })
      })
    }
  }
}

/** Starts a server that runs until the test ends. */
export function start(holdings: Holdings, command: string, args: readonly string[]): Running {
  const running = new Running(command.includes('/') ? command : requireTool(command), args, holdings.folder)
  holdings.defer(() => running.kill())
  return running
}

export interface Finished {
  readonly code: number | null
  /** Standard output and standard error. */
  readonly text: string
  readonly stdout: Buffer
}

export interface RunOptions {
  readonly input?: string | Uint8Array
  readonly timeoutMs?: number
}

/** Runs a command to its end; an Error when that takes too long. */
export async function run(
  command: string,
  args: readonly string[],
  { input = '', timeoutMs = RUN_MS }: RunOptions = {},
): Promise<Finished> {
  const running = new Running(command.includes('/') ? command : requireTool(command), args)
  let late = false
  const timer = setTimeout(() => {
    late = true
    running.signal('SIGKILL')
  }, timeoutMs)
  running.input(input)
  const code = await running.exit
  clearTimeout(timer)
  if (late) throw new Error(`${command} ${args.join(' ')} took longer than ${timeoutMs} ms: wrote ${running.text}`)
  return { code, text: running.text, stdout: running.stdout }
}

/** A subcommand of the gateway's own program. */
export function runAtlas(args: readonly string[]): Promise<Finished> {
  return run(process.execPath, [MAIN, ...args])
}

/** The program that `run` gives to operators, as a server of the test. */
export function startAtlas(holdings: Holdings, args: readonly string[]): Running {
  return start(holdings, process.execPath, [MAIN, ...args])
}

/** A TCP port of 127.0.0.1 that was free a moment ago, for servers that cannot take one from the kernel. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
