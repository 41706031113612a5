import { hash } from 'node:crypto'
import type { Staple } from './stapled.ts'

/** Staples by certificate, for handshakes. */
export class StapleTable {
  readonly #staples: ReadonlyMap<string, { readonly response: Buffer; readonly nextUpdate: number }>

  constructor(staples: readonly Staple[]) {
    this.#staples = new Map(
      staples.map(({ fingerprint256, response, nextUpdate }) => [
        fingerprint256.replaceAll(':', '').toLowerCase(),
        { response: Buffer.from(response), nextUpdate },
      ]),
    )
  }

  get isEmpty(): boolean {
    return this.#staples.size === 0
  }

  /** Null: there is none that is still good. `certificate`: DER. */
  of(certificate: Uint8Array): Buffer | null {
    const staple = this.#staples.get(hash('sha256', certificate))
    return staple === undefined || staple.nextUpdate <= Date.now() ? null : staple.response
  }
}
