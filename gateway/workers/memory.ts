import { allocateRates } from '../../net/rate-limit.ts'
import { allocateConnections, forgetConnections } from '../../transports/connection-limit.ts'
import { Slab } from '../telemetry/slab.ts'

/** What a worker shares with the other threads. */
export interface WorkerMemory {
  /** The slab of this worker's counters. */
  readonly counters: SharedArrayBuffer
  /** Open connections by client. */
  readonly connections: SharedArrayBuffer
  /** How often clients have asked lately, and how often they were answered over UDP. */
  readonly rates: { readonly queries: SharedArrayBuffer; readonly udp: SharedArrayBuffer }
  /** A number for each worker, which grows while the worker lives. */
  readonly beats: SharedArrayBuffer
}

/** All memory that threads share. The main thread makes it, and tidies up behind workers that have ended. */
export class SharedMemory {
  /** By worker. */
  readonly slabs: readonly Slab[]
  readonly beats: Int32Array
  readonly #counters: readonly SharedArrayBuffer[]
  readonly #connections: SharedArrayBuffer
  readonly #rates = { queries: allocateRates(), udp: allocateRates() }

  constructor(workers: number) {
    this.#counters = Array.from({ length: workers }, () => Slab.allocate())
    this.slabs = this.#counters.map((memory) => new Slab(memory))
    this.beats = new Int32Array(new SharedArrayBuffer(workers * Int32Array.BYTES_PER_ELEMENT))
    this.#connections = allocateConnections(workers)
  }

  of(worker: number): WorkerMemory {
    return {
      counters: this.#counters[worker] as SharedArrayBuffer,
      connections: this.#connections,
      rates: this.#rates,
      beats: this.beats.buffer as SharedArrayBuffer,
    }
  }

  /** What the worker held is free; what it counted stays. */
  release(worker: number): void {
    forgetConnections(this.#connections, worker)
  }
}
