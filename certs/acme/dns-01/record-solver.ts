import { OperationalError, reasonOf } from '../../../dns/operational-error.ts'
import type { Challenge, ChallengeSolver } from '../challenge.ts'
import { within } from './client.ts'
import type { Directory } from './directory.ts'
import type { Propagation } from './propagation.ts'
import { type ChallengeRecord, challengeName, challengeOwner, challengeValue, ownerText, unshown } from './record.ts'

/** Of what nobody gives up. */
export const NEVER: AbortSignal = new AbortController().signal

/** Makes and removes one TXT record on somebody else's server. Rejects with an Error whose message is the bare reason. */
export interface RecordWriter {
  /** Beside those that are there. */
  write(record: ChallengeRecord, signal: AbortSignal): Promise<void>
  /** No other than this; bounds its time itself. */
  erase(record: ChallengeRecord): Promise<void>
}

export interface RecordSolverDependencies {
  readonly writer: RecordWriter
  readonly directory: Directory
  readonly propagation: Propagation
  /** Hears of a record that could not be removed. */
  readonly onLeftBehind: (error: OperationalError) => void
}

/** How long it may take whose time nobody has set. */
const LOOK_UP_MS = 30_000

/** Shows names by records on the servers of their zone. */
export class RecordSolver implements ChallengeSolver {
  readonly type = 'dns-01'
  readonly #dependencies: RecordSolverDependencies
  /** What has been made, or begun to be, by value. */
  readonly #records = new Map<string, ChallengeRecord>()
  readonly #closing = new AbortController()

  constructor(dependencies: RecordSolverDependencies) {
    this.#dependencies = dependencies
  }

  async present(challenge: Challenge): Promise<void> {
    const { identifier } = challenge
    const { writer, directory, propagation } = this.#dependencies
    const { signal } = this.#closing
    const name = challengeOwner(identifier)
    const value = challengeValue(challenge)
    try {
      signal.throwIfAborted()
      const limit = { ms: LOOK_UP_MS, signal, otherwise: `it is not found where ${challengeName(identifier)} leads` }
      const owner = await within(limit, (limited) => directory.endOfAliases(name, limited))
      const record = { identifier, owner, value }
      this.#records.set(value, record)
      await writer.write(record, signal)
      await propagation.await(record, signal)
    } catch (error) {
      throw unshown(identifier, signal.aborted ? 'the gateway gives it up' : reasonOf(error), error)
    }
  }

  async remove(challenge: Challenge): Promise<void> {
    const value = challengeValue(challenge)
    const record = this.#records.get(value)
    if (record === undefined) return
    this.#records.delete(value)
    try {
      // also after close(): what was made is not to stay
      await this.#dependencies.writer.erase(record)
    } catch (error) {
      this.#dependencies.onLeftBehind(
        new OperationalError('ATLAS_CERTIFICATE', `Cannot remove ${ownerText(record)} TXT "${value}": ${reasonOf(error)}`, error),
      )
    }
  }

  /** Ends what is under way; remove() still works. */
  async close(): Promise<void> {
    this.#closing.abort()
  }
}
