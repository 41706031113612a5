import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const COMMAND = fileURLToPath(new URL('../deploy/atlas-dns', import.meta.url))
const READY_MS = 20_000
/** USER_HZ of Linux on every architecture that Node.js runs on. */
const TICKS_PER_SECOND = 100

export interface GatewayPorts {
  readonly dns: number
  readonly dot: number
  /** Off without. */
  readonly doh?: number
  readonly doq?: number
}

/** Loopback only, nothing that is not needed; `settings` besides. */
function environment({ dns, dot, doh, doq }: GatewayPorts, settings: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  return {
    PATH: process.env.PATH,
    ATLAS_LISTEN_DNS: `127.0.0.1:${dns}`,
    ATLAS_LISTEN_DOT: `127.0.0.1:${dot}`,
    ATLAS_LISTEN_DOH: doh === undefined ? '' : `127.0.0.1:${doh}`,
    ATLAS_LISTEN_DOQ: doq === undefined ? '' : `127.0.0.1:${doq}`,
    ATLAS_LISTEN_ADMIN: 'false',
    ATLAS_LOG_LEVEL: 'error',
    ...settings,
  }
}

function isFile(settings: object): settings is { readonly file: string } {
  return 'file' in settings
}

/** The program as operators run it, in a process of its own. */
export class RunningGateway {
  readonly ports: GatewayPorts
  /** Milliseconds of performance.now() when the process was started. */
  readonly startedAt = performance.now()
  readonly #child: ChildProcess
  #text = ''

  /** `settings`: what else is in the environment; or the configuration file, which then says everything. */
  constructor(ports: GatewayPorts, settings: Readonly<Record<string, string>> | { readonly file: string }) {
    this.ports = ports
    const env = isFile(settings) ? { PATH: process.env.PATH } : environment(ports, settings)
    const args = isFile(settings) ? ['--config', settings.file] : []
    this.#child = spawn('sh', [COMMAND, 'run', ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.on('data', (chunk: Buffer) => (this.#text += chunk.toString()))
  }

  /** Resolves once it serves. */
  async ready(): Promise<void> {
    const deadline = AbortSignal.timeout(READY_MS)
    while (!this.#text.includes('is serving')) {
      if (this.#child.exitCode !== null || deadline.aborted) throw new Error(`Gateway did not start: wrote ${this.#text}`)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** What all its threads have run so far, seconds. */
  get cpuSeconds(): number {
    // the name of the program, in parentheses, may contain spaces
    const fields = readFileSync(`/proc/${this.#child.pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
  }

  /** Has it read its configuration file again. */
  reload(): void {
    this.#child.kill('SIGHUP')
  }

  /** What it has said so far. */
  get text(): string {
    return this.#text
  }

  /** Ends it as an operator would, and waits until it has. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exit = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    await exit
  }
}
