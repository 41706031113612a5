import { reasonOf } from '../../dns/operational-error.ts'
import type { AdminClient } from '../admin/client.ts'
import type { ControlEvent, Status, UpstreamStatus } from '../admin/control.ts'
import type { TopState } from './top-frame.ts'
import { differenceOf, type Look } from './top-look.ts'

/** A gateway that takes longer is no longer a live view; whoever quits waits at most for this. */
const TIMEOUT_MS = 5_000
/** More than any terminal is high. */
const KEPT_EVENTS = 100

/** Looks at the gateway again and again, and keeps what has to be known of the times before. */
export class TopWatch {
  readonly #client: AdminClient
  readonly #now: () => number
  #look: Look | null = null
  #events: ControlEvent[] | null = null
  #following = false
  #trouble: string | null = null

  constructor(client: AdminClient, now: () => number) {
    this.#client = client
    this.#now = now
  }

  async look(): Promise<TopState> {
    const options = { timeoutMs: TIMEOUT_MS }
    const [status, upstreams] = await Promise.all([
      this.#client.get<Status>('/v1/status', options),
      this.#client.get<readonly UpstreamStatus[]>('/v1/upstreams', options),
    ])
    const look = { at: this.#now(), status, upstreams }
    const difference = this.#look === null ? null : differenceOf(this.#look, look)
    this.#look = look
    return { look, difference, events: this.#events, trouble: this.#trouble }
  }

  /** Notes the events from now on. The gateway may end the stream and still be there: then it is due once more. */
  async follow(signal: AbortSignal): Promise<void> {
    if (this.#following) return
    this.#following = true
    this.#events ??= []
    try {
      await this.#client.events((event) => this.#note(event), signal)
    } catch (error) {
      this.#trouble = reasonOf(error)
    } finally {
      this.#following = false
    }
  }

  #note(event: ControlEvent): void {
    this.#trouble = null
    this.#events = [event, ...(this.#events ?? [])].slice(0, KEPT_EVENTS)
  }
}
