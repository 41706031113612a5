import { extname } from 'node:path'
import { SHARE_ENV, Worker } from 'node:worker_threads'
import { OperationalError } from '../../dns/operational-error.ts'
import type { DataPlaneFacts, WorkerSetup } from '../data-plane.ts'
import type { Command, Launcher, Order, Report, WorkerHandle } from './protocol.ts'

/** Beside this file, and compiled where this file is. */
const SCRIPT = new URL(`./worker${extname(import.meta.filename)}`, import.meta.url)

/** Starts data planes in threads of their own. */
export class ThreadLauncher implements Launcher {
  readonly #script: URL
  readonly #ready: Worker[] = []

  constructor(script: URL = SCRIPT) {
    this.#script = script
  }

  /**
   * Starts one thread: every gateway has one at least. Loading its code takes most of a thread's start, and is done beside what the
   * main thread has to do before a worker can be made. A thread that waits does not keep the process alive.
   */
  warmUp(): void {
    const worker = this.#start()
    worker.unref()
    this.#ready.push(worker)
  }

  prepare(workers: number, keyDirectory: string): void {
    // the QUIC library asks the process for both: they have to hold from now on (net/quic/key-files.ts)
    process.umask(0o077)
    process.env.TMPDIR = keyDirectory
    while (this.#ready.length < workers) this.warmUp()
  }

  launch(setup: WorkerSetup): WorkerHandle {
    const worker = this.#ready.shift() ?? this.#start()
    worker.ref()
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port, not a window
    worker.postMessage(setup)
    return new Thread(worker)
  }

  async close(): Promise<void> {
    await Promise.all(this.#ready.splice(0).map((worker) => worker.terminate()))
  }

  #start(): Worker {
    return new Worker(this.#script, { env: SHARE_ENV })
  }
}

class Thread implements WorkerHandle {
  readonly #worker: Worker
  readonly #started = Promise.withResolvers<DataPlaneFacts>()
  readonly #ended = Promise.withResolvers<Error | null>()
  readonly #orders = new Map<number, PromiseWithResolvers<DataPlaneFacts>>()
  #lastOrder = 0
  /** Why the thread ends, as far as that is known. */
  #cause: Error | null = null
  #isTerminated = false

  constructor(worker: Worker) {
    this.#worker = worker
    // who waits for the end hears of it there
    this.started.catch(() => {})
    worker.on('message', (report: Report) => this.#onReport(report))
    worker.on('error', (error) => {
      this.#cause ??= error instanceof Error ? error : new Error(String(error))
    })
    worker.once('exit', (code) => this.#onExit(code))
  }

  get started(): Promise<DataPlaneFacts> {
    return this.#started.promise
  }

  get ended(): Promise<Error | null> {
    return this.#ended.promise
  }

  tell(command: Command): Promise<DataPlaneFacts> {
    const order: Order = { id: ++this.#lastOrder, command }
    const acknowledged = Promise.withResolvers<DataPlaneFacts>()
    this.#orders.set(order.id, acknowledged)
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port, not a window
    this.#worker.postMessage(order)
    return acknowledged.promise
  }

  async terminate(): Promise<void> {
    this.#isTerminated = true
    await this.#worker.terminate()
    await this.ended
  }

  #onReport(report: Report): void {
    if (report.kind === 'started') {
      this.#started.resolve(report.facts)
      return
    }
    if (report.kind === 'failed') {
      this.#cause = new OperationalError(report.code, report.message)
      void this.#worker.terminate()
      return
    }
    const order = this.#orders.get(report.id)
    this.#orders.delete(report.id)
    if (report.kind === 'done') order?.resolve(report.facts)
    else order?.reject(report.code === null ? new Error(report.message) : new OperationalError(report.code, report.message))
  }

  #onExit(code: number): void {
    const cause = this.#cause ?? (this.#isTerminated ? null : new Error(`the thread ended by itself, with code ${code}`))
    const gone = cause ?? new Error('the thread was ended')
    this.#started.reject(gone)
    for (const order of this.#orders.values()) order.reject(gone)
    this.#orders.clear()
    this.#ended.resolve(cause)
  }
}
