import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Challenge, ChallengeSolver, ChallengeType } from '../../../certs/acme/challenge.ts'
import { AcmeIdentities } from '../../../certs/acme/identities.ts'
import type { AcmeOptions } from '../../../certs/acme/options.ts'
import type { AcmeStateContent, CertificateRecord } from '../../../certs/acme/state.ts'
import type { Identity } from '../../../certs/identity.ts'
import type { CertificateState } from '../../../certs/provider.ts'
import { DirectoryStorage } from '../../../certs/storage.ts'
import { AcmeServer } from '../../harness/acme-server.ts'
import { temporaryDirectory } from '../../harness/temporary.ts'
import { TestClock } from './clock.ts'

export const NAME = 'dns.example.net'
export const DAY_MS = 86_400_000
export const HOUR_MS = 3_600_000

/** Shows challenges where the test's CA looks. */
export class TestSolver implements ChallengeSolver {
  readonly type: ChallengeType
  readonly shown = new Map<string, Challenge>()
  /** All there ever were. */
  readonly presented: Challenge[] = []
  /** How many were shown at the same time. */
  most = 0
  isClosed = false
  work: (challenge: Challenge) => Promise<void> = async () => {}

  constructor(type: ChallengeType) {
    this.type = type
  }

  async present(challenge: Challenge): Promise<void> {
    this.shown.set(challenge.token, challenge)
    this.presented.push(challenge)
    this.most = Math.max(this.most, this.shown.size)
    await this.work(challenge)
  }

  async remove({ token }: Challenge): Promise<void> {
    this.shown.delete(token)
  }

  async close(): Promise<void> {
    this.isClosed = true
  }
}

export class FullDisk extends DirectoryStorage {
  /** Paths that cannot be written. */
  refuses: (path: string) => boolean = () => false

  override async write(path: string, file: { readonly text: string; readonly mode: number }): Promise<void> {
    if (this.refuses(path)) throw new Error(`ENOSPC: no space left on device: ${path}`)
    await super.write(path, file)
  }
}

/** A CA, a state directory, a clock, and what the gateway makes of them. */
export class AcmeLab {
  readonly server: AcmeServer
  readonly clock = new TestClock()
  readonly stateDir: string
  readonly storage: FullDisk
  readonly solver: TestSolver
  readonly changed: CertificateState[] = []
  readonly failed: CertificateState[] = []
  options: AcmeOptions
  #running: AcmeIdentities | null = null

  static async start(t: TestContext, options: Partial<AcmeOptions> = {}, type: ChallengeType = 'dns-01'): Promise<AcmeLab> {
    const server = await AcmeServer.start()
    const lab = new AcmeLab(server, { stateDir: temporaryDirectory(t), options, type })
    t.after(async () => {
      await lab.stop()
      await server[Symbol.asyncDispose]()
    })
    return lab
  }

  private constructor(
    server: AcmeServer,
    { stateDir, options, type }: { stateDir: string; options: Partial<AcmeOptions>; type: ChallengeType },
  ) {
    this.server = server
    this.stateDir = stateDir
    this.storage = new FullDisk(stateDir)
    this.solver = new TestSolver(type)
    server.behaviour.now = this.clock.now
    server.behaviour.look = (token) => this.solver.shown.get(token)?.keyAuthorization
    this.options = {
      directory: server.directory,
      email: null,
      names: [NAME],
      ca: { file: server.caFile, origin: 'atlas.yaml:9:9' },
      eab: null,
      profile: null,
      preferredChain: null,
      keys: ['ecdsa'],
      origin: 'atlas.yaml:3:5',
      ...options,
    }
  }

  /** As a start of the gateway, or one more start. */
  async open(options: Partial<AcmeOptions> = {}): Promise<AcmeIdentities> {
    await this.stop()
    this.options = { ...this.options, ...options }
    this.#running = await AcmeIdentities.open(this.options, {
      storage: this.storage,
      solver: this.solver,
      observer: { changed: (state) => void this.changed.push(state), failed: (state) => void this.failed.push(state) },
      userAgent: 'atlas-dns/1.2.3',
      clock: this.clock,
    })
    return this.#running
  }

  async stop(): Promise<void> {
    await this.#running?.stop()
    this.#running = null
  }

  get state(): CertificateState {
    return this.#running?.certificates[0] ?? assert.fail('it does not run')
  }

  get identity(): Identity {
    return this.state.identities[0] ?? assert.fail(`there is none: ${this.state.problem?.message}`)
  }

  /** Until there is a certificate, or the reason why not. */
  async settle(): Promise<CertificateState> {
    await this.clock.next()
    return this.state
  }

  async fails(): Promise<string> {
    return (await this.settle()).problem?.message ?? assert.fail('it did not fail')
  }

  get accountPath(): string {
    return `acme/${new URL(this.server.directory).host}`
  }

  /** Of a file in the state directory; null: there is none. */
  read(path: string): string | null {
    const file = join(this.stateDir, path)
    return existsSync(file) ? readFileSync(file, 'utf8') : null
  }

  write(path: string, text: string): void {
    writeFileSync(join(this.stateDir, path), text)
  }

  get content(): AcmeStateContent {
    return JSON.parse(this.read(`${this.accountPath}/state.json`) ?? '') as AcmeStateContent
  }

  get record(): CertificateRecord {
    return this.content.certificates[NAME] ?? assert.fail('no record')
  }

  /** Requests to place an order. */
  get orders(): readonly Record<string, unknown>[] {
    return this.server.requests.filter(({ resource }) => resource === 'newOrder').map(({ payload }) => payload as Record<string, unknown>)
  }
}

/** A lab with a certificate. */
export async function ready(t: TestContext, lifetimeMs = 90 * DAY_MS): Promise<AcmeLab> {
  const lab = await AcmeLab.start(t)
  lab.server.behaviour.lifetimeMs = lifetimeMs
  await lab.open()
  await lab.settle()
  return lab
}
