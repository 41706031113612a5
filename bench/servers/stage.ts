import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Upstream } from '../upstream.ts'
import type { Server, Surroundings } from './server.ts'

const SUBJECT = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']

/** A server that takes part. */
export interface Contender<Name extends string> {
  readonly name: Name
  readonly isAvailable: boolean
  start(surroundings: Surroundings): Promise<Server>
  /** Has it learn all answers, and compile what is compiled late. */
  warm?(server: Server, folder: string): Promise<void>
}

/** Servers that run side by side. */
export class Stage<Name extends string> {
  readonly servers: ReadonlyMap<Name, Server>
  readonly missing: readonly Name[]
  /** For what the loads need. */
  readonly folder: string
  readonly #upstream: Upstream

  private constructor(parts: { servers: ReadonlyMap<Name, Server>; missing: readonly Name[]; folder: string; upstream: Upstream }) {
    this.servers = parts.servers
    this.missing = parts.missing
    this.folder = parts.folder
    this.#upstream = parts.upstream
  }

  /** Those of `contenders` that this machine has, started and warmed up. */
  static async set<Name extends string>(contenders: readonly Contender<Name>[]): Promise<Stage<Name>> {
    const folder = mkdtempSync(join(tmpdir(), 'atlas-bench-'))
    const [certificate, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
    const keyForm = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30']
    execFileSync('openssl', ['req', '-x509', ...keyForm, '-keyout', key, '-out', certificate, ...SUBJECT], { stdio: 'ignore' })
    const upstream = await Upstream.start()
    const servers = new Map<Name, Server>()
    const missing = contenders.filter(({ isAvailable }) => !isAvailable).map(({ name }) => name)
    const stage = new Stage({ servers, missing, folder, upstream })
    try {
      for (const { name, isAvailable, start, warm } of contenders) {
        if (!isAvailable) continue
        const server = await start({ folder, upstream, certificate, key })
        servers.set(name, server)
        await warm?.(server, folder)
      }
    } catch (error) {
      await stage.strike()
      throw error
    }
    return stage
  }

  /** What the reader has to know of who did not take part. */
  get notes(): readonly string[] {
    return this.missing.map((name) => `Skipped: ${name} is not installed.`)
  }

  /** The servers in the order of this round: forth, then back, so that nobody is always the first. */
  turns(round: number): readonly (readonly [Name, Server])[] {
    return round % 2 === 0 ? [...this.servers] : [...this.servers].toReversed()
  }

  async strike(): Promise<void> {
    for (const server of this.servers.values()) await server.stop()
    await this.#upstream.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }
}
