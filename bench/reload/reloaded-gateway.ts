import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { accepts } from '../accepts.ts'
import { RunningGateway } from '../gateway.ts'
import { UdpAsker } from '../udp-asker.ts'
import { Upstream } from '../upstream.ts'
import { PORTS, sparePort, UPSTREAMS, writeConfiguration } from './configuration.ts'
import { knownNames } from './questions.ts'

/** How exactly the end of a reload is timed, and when it is given up. */
const LOOK_MS = 10
const DONE_MS = 10_000

/** A program with a configuration file that changes, and its upstreams. */
export class ReloadedGateway {
  readonly #folder: string
  readonly #gateway: RunningGateway
  readonly #upstreams: Upstream[]
  #generation = 0

  private constructor(folder: string, upstreams: Upstream[]) {
    this.#folder = folder
    this.#upstreams = upstreams
    this.#write()
    this.#gateway = new RunningGateway(PORTS, { file: this.#file })
  }

  /** Resolves when it serves, and the known names are in its cache. */
  static async start(folder: string): Promise<ReloadedGateway> {
    const upstreams = await Promise.all(Array.from({ length: UPSTREAMS }, () => Upstream.start()))
    const gateway = new ReloadedGateway(folder, upstreams)
    try {
      await gateway.#warm()
      return gateway
    } catch (error) {
      await gateway.stop()
      throw error
    }
  }

  get cpuSeconds(): number {
    return this.#gateway.cpuSeconds
  }

  /** Changes the file and has it read; resolves when that has taken effect, with the milliseconds that it took. */
  async reload(): Promise<number> {
    const before = sparePort(this.#generation)
    this.#generation++
    const after = sparePort(this.#generation)
    // the one that goes stays until the end: it may have been asked
    this.#upstreams.splice(UPSTREAMS - 1, 0, await Upstream.start())
    this.#write()
    const from = performance.now()
    this.#gateway.reload()
    while (!(await accepts(after)) || (await accepts(before))) {
      if (performance.now() - from > DONE_MS) throw new Error(`Reload had no effect: the gateway wrote ${this.#gateway.text}`)
      await sleep(LOOK_MS)
    }
    return performance.now() - from
  }

  async stop(): Promise<void> {
    await this.#gateway.stop()
    await Promise.all(this.#upstreams.map((upstream) => upstream.stop()))
  }

  get #file(): string {
    return join(this.#folder, 'atlas.yaml')
  }

  #write(): void {
    const upstreams = this.#upstreams.slice(0, UPSTREAMS).map(({ url }) => url)
    writeConfiguration(this.#file, { state: join(this.#folder, 'state'), upstreams, generation: this.#generation })
  }

  async #warm(): Promise<void> {
    await this.#gateway.ready()
    const names = knownNames()
    const asker = await UdpAsker.connect(PORTS.dns)
    const answered = await asker.ask(names)
    asker.close()
    if (answered < names.length) throw new Error(`Cannot fill the cache: ${answered} of ${names.length} names were answered`)
  }
}
