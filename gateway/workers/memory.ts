import { allocateConcurrency, forgetConcurrency } from '../../net/concurrency-limit.ts'
import { allocateRates } from '../../net/rate-limit.ts'
import { Slab } from '../telemetry/slab.ts'

/** What a worker shares with the other threads. */
export interface WorkerMemory {
  /** The slab of this worker's counters. */
  readonly counters: SharedArrayBuffer
  /** By client: what it has open, and how many queries of its wait for upstreams. */
  readonly concurrency: { readonly connections: SharedArrayBuffer; readonly inFlight: SharedArrayBuffer }
  /** How often clients have asked lately, were answered over UDP, and began a TLS handshake. */
  readonly rates: { readonly queries: SharedArrayBuffer; readonly udp: SharedArrayBuffer; readonly handshakes: SharedArrayBuffer }
  /** A number for each worker, which grows while the worker lives. */
  readonly beats: SharedArrayBuffer
}

/** All memory that threads share. The main thread makes it, and tidies up behind workers that have ended. */
export class SharedMemory {
  /** By worker. */
  readonly slabs: readonly Slab[]
  readonly beats: Int32Array
  readonly #counters: readonly SharedArrayBuffer[]
  readonly #concurrency: WorkerMemory['concurrency']
  readonly #rates: WorkerMemory['rates'] = { queries: allocateRates(), udp: allocateRates(), handshakes: allocateRates() }

  constructor(workers: number) {
    this.#counters = Array.from({ length: workers }, () => Slab.allocate())
    this.slabs = this.#counters.map((memory) => new Slab(memory))
    this.beats = new Int32Array(new SharedArrayBuffer(workers * Int32Array.BYTES_PER_ELEMENT))
    this.#concurrency = { connections: allocateConcurrency(workers), inFlight: allocateConcurrency(workers) }
  }

  of(worker: number): WorkerMemory {
    return {
      counters: this.#counters[worker] as SharedArrayBuffer,
      concurrency: this.#concurrency,
      rates: this.#rates,
      beats: this.beats.buffer as SharedArrayBuffer,
    }
  }

  /** What the worker held is free; what it counted stays. */
  release(worker: number): void {
    for (const shared of Object.values(this.#concurrency)) forgetConcurrency(shared, worker)
  }
}
