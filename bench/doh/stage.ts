import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Upstream } from '../upstream.ts'
import { h2load } from './h2load.ts'
import { type QuestionForm, questions } from './questions.ts'
import { isAvailable, isConstant, type Server, type ServerName, startServer } from './servers.ts'

const SUBJECT = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']

/** Servers that run side by side, with all answers in their caches. */
export class Stage {
  readonly servers: ReadonlyMap<ServerName, Server>
  readonly missing: readonly ServerName[]
  readonly #folder: string
  readonly #upstream: Upstream
  readonly #questions: readonly Buffer[]

  private constructor(parts: {
    servers: ReadonlyMap<ServerName, Server>
    missing: readonly ServerName[]
    folder: string
    upstream: Upstream
    questions: readonly Buffer[]
  }) {
    this.servers = parts.servers
    this.missing = parts.missing
    this.#folder = parts.folder
    this.#upstream = parts.upstream
    this.#questions = parts.questions
  }

  /** Those of `names` that this machine has, started and warmed up. */
  static async set(names: readonly ServerName[], form: QuestionForm): Promise<Stage> {
    const folder = mkdtempSync(join(tmpdir(), 'atlas-bench-'))
    const [certificate, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
    const keyForm = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30']
    execFileSync('openssl', ['req', '-x509', ...keyForm, '-keyout', key, '-out', certificate, ...SUBJECT], { stdio: 'ignore' })
    const upstream = await Upstream.start()
    const servers = new Map<ServerName, Server>()
    const missing = names.filter((name) => !isAvailable(name))
    const stage = new Stage({ servers, missing, folder, upstream, questions: questions(form) })
    try {
      for (const name of names) {
        if (missing.includes(name)) continue
        const server = await startServer(name, { folder, upstream, certificate, key })
        servers.set(name, server)
        if (!isConstant(name)) await stage.#warm(server)
      }
    } catch (error) {
      await stage.strike()
      throw error
    }
    return stage
  }

  /** A file with the first question's message. */
  get message(): string {
    const file = join(this.#folder, 'message.bin')
    writeFileSync(file, this.#questions[0] ?? Buffer.alloc(0))
    return file
  }

  /** A file with a URL for each name. */
  urlsFor({ port }: Server): string {
    const file = join(this.#folder, `urls-${port}`)
    const lines = this.#questions.map((wire) => `https://127.0.0.1:${port}/dns-query?dns=${wire.toString('base64url')}\n`)
    writeFileSync(file, lines.join(''))
    return file
  }

  async strike(): Promise<void> {
    for (const server of this.servers.values()) await server.stop()
    await this.#upstream.stop()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** Twice, so that what is compiled late is compiled too. */
  async #warm(server: Server): Promise<void> {
    const requests = 10 * this.#questions.length
    await h2load({ port: server.port, connections: 4, streams: 10, requests, urls: this.urlsFor(server) })
    await h2load({ port: server.port, connections: 4, streams: 50, requests, post: this.message })
  }
}
