import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { Behaviour, FaultyKind, FaultyPlan } from './faulty-server.ts'

const SCRIPT = new URL('./faulty-child.ts', import.meta.url)

export type Order =
  /** `at`: by now() of the load; in the past: at once. */
  { readonly what: 'behave'; readonly behaviour: Behaviour; readonly at: number } | { readonly what: 'count' }

export type Report =
  | { readonly what: 'listening'; readonly port: number }
  | { readonly what: 'told' }
  | { readonly what: 'count'; readonly questions: number }

/** An upstream in a process of its own that misbehaves on demand. */
export class Faulty {
  readonly kind: FaultyKind
  readonly port: number
  readonly #child: ChildProcess

  private constructor(kind: FaultyKind, port: number, child: ChildProcess) {
    this.kind = kind
    this.port = port
    this.#child = child
  }

  /** Resolves once it serves, and behaves well. */
  static async start(plan: FaultyPlan): Promise<Faulty> {
    const child = fork(SCRIPT, [JSON.stringify(plan)])
    const report = await reportOf(child)
    if (report.what !== 'listening') throw new Error(`Cannot start an upstream: received ${report.what}`)
    return new Faulty(plan.kind, report.port, child)
  }

  /** From the moment `at` on, by now() of the load; without, at once. */
  async behave(behaviour: Behaviour, at = 0): Promise<void> {
    await this.#ask({ what: 'behave', behaviour, at })
  }

  /** How many questions it was asked so far. */
  async questions(): Promise<number> {
    const report = await this.#ask({ what: 'count' })
    return report.what === 'count' ? report.questions : Number.NaN
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exit = once(this.#child, 'exit')
    this.#child.disconnect()
    await exit
  }

  #ask(order: Order): Promise<Report> {
    const report = reportOf(this.#child)
    this.#child.send(order)
    return report
  }
}

async function reportOf(child: ChildProcess): Promise<Report> {
  const exit = once(child, 'exit').then(([code]) => Promise.reject(new Error(`Child process failed: exit code ${code}`)))
  const [report] = await Promise.race([once(child, 'message'), exit])
  return report as Report
}
