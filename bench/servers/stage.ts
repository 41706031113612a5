import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Upstream } from '../upstream.ts'
import { selfSigned } from './certificate.ts'
import type { Asked, Place, Server, Surroundings } from './server.ts'

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
  readonly #upstream: Asked

  private constructor(parts: { servers: ReadonlyMap<Name, Server>; missing: readonly Name[]; folder: string; upstream: Asked }) {
    this.servers = parts.servers
    this.missing = parts.missing
    this.folder = parts.folder
    this.#upstream = parts.upstream
  }

  /** Those of `contenders` that this machine has, started and warmed up; `startUpstream`: whom they ask. */
  static async set<Name extends string>(
    contenders: readonly Contender<Name>[],
    startUpstream: (place: Place) => Promise<Asked> = () => Upstream.start(),
  ): Promise<Stage<Name>> {
    const folder = mkdtempSync(join(tmpdir(), 'atlas-bench-'))
    const place = { folder, ...selfSigned(folder) }
    const upstream = await startUpstream(place).catch((error: unknown) => {
      rmSync(folder, { recursive: true, force: true })
      throw error
    })
    const servers = new Map<Name, Server>()
    const missing = contenders.filter(({ isAvailable }) => !isAvailable).map(({ name }) => name)
    const stage = new Stage({ servers, missing, folder, upstream })
    try {
      for (const { name, isAvailable, start, warm } of contenders) {
        if (!isAvailable) continue
        const server = await start({ ...place, upstream })
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
