import type { Logger } from 'pino'
import { type Endpoint, formatEndpoint } from '../../net/address.ts'
import { type Clock, monotonicClock } from '../../net/clock.ts'
import type { AdminApp } from './app.ts'
import type { Control } from './control.ts'
import { DOOR_TIMES, Door, type DoorTimes } from './door.ts'
import { EventFeed } from './events.ts'
import { FailureLimit } from './failure-limit.ts'
import { Guard, type GuardSettings } from './guard.ts'

/** The TCP listener, as configured. */
export interface DoorSettings extends GuardSettings {
  readonly endpoint: Endpoint
}

export interface AdminDoorOptions {
  readonly clock?: Clock
  readonly times?: DoorTimes
}

/** Another TCP listener; one of the two is due. */
export interface DoorChange {
  commit(): void
  abort(): void
}

interface TcpDoor {
  readonly door: Door
  /** As configured; port 0 is any. */
  readonly asked: string
  readonly endpoint: Endpoint
}

/** The two doors to the control plane: a Unix socket for who runs the gateway, and a TCP listener with a guard (docs/api.md). */
export class AdminDoors {
  readonly #control: Control
  readonly #log: Logger
  readonly #feed: EventFeed
  readonly #failures: FailureLimit
  readonly #times: DoorTimes
  /** Those that still answer something, though nobody can come in any more, included. */
  readonly #doors = new Set<Door>()
  #tcp: TcpDoor | null = null
  #app: Promise<AdminApp> | null = null
  #closed = false

  constructor(control: Control, log: Logger, { clock = monotonicClock, times = DOOR_TIMES }: AdminDoorOptions = {}) {
    this.#control = control
    this.#log = log
    this.#feed = new EventFeed(control)
    this.#failures = new FailureLimit(clock)
    this.#times = times
  }

  /** Null: there is no TCP listener. With the true port. */
  get endpoint(): Endpoint | null {
    return this.#tcp?.endpoint ?? null
  }

  /** Throws OperationalError ATLAS_STATE. */
  async openSocket(path: string): Promise<void> {
    const door = this.#makeDoor(null)
    await door.listenOnSocket(path)
    await this.#keep(door)
  }

  /** Binds the new address before the old one is given up; where that fails, throws OperationalError ATLAS_LISTEN and all stays as it was. */
  async reconfigure(settings: DoorSettings | null): Promise<void> {
    const change = await this.prepare(settings)
    change.commit()
  }

  /** Binds the new address, as reconfigure() does; until the change is committed, the old one is not given up. */
  async prepare(settings: DoorSettings | null): Promise<DoorChange> {
    if (settings === null) return { commit: () => this.#replace(null), abort: () => {} }
    const guard = new Guard(settings, this.#failures, this.#log)
    const asked = formatEndpoint(settings.endpoint)
    const present = this.#tcp
    if (present?.asked === asked) return { commit: () => present.door.setGuard(guard), abort: () => {} }
    const door = this.#makeDoor(guard)
    const endpoint = await door.listen(settings.endpoint)
    if (!(await this.#keep(door))) return { commit: () => {}, abort: () => {} }
    return { commit: () => this.#replace({ door, asked, endpoint }), abort: () => void door.close().then(() => this.#doors.delete(door)) }
  }

  /** Loads what the first request needs, so that it does not wait for it. */
  async preload(): Promise<void> {
    await this.#loadApp().catch((error: unknown) => this.#log.error({ err: error }, 'cannot load what answers at the admin doors'))
  }

  /** Ends everything at once. */
  async close(): Promise<void> {
    this.#closed = true
    this.#feed.stop()
    this.#tcp = null
    await Promise.all(Array.from(this.#doors, (door) => door.close()))
    this.#doors.clear()
  }

  #makeDoor(guard: Guard | null): Door {
    const load = async (door: Door) => (await this.#loadApp()).listenerOf(door)
    return new Door({ guard, feed: this.#feed, log: this.#log, load, times: this.#times })
  }

  /** False where the doors were closed while this one was being opened. */
  async #keep(door: Door): Promise<boolean> {
    if (this.#closed) {
      await door.close()
      return false
    }
    this.#feed.start()
    this.#doors.add(door)
    return true
  }

  #replace(next: TcpDoor | null): void {
    const before = this.#tcp?.door
    this.#tcp = next
    // not waited for: it may be answering the very request that asks for this
    void before?.retire().then(() => this.#doors.delete(before))
  }

  /** Hono and the schemas take longer to load than the rest of the main thread: the gateway serves before they are here. */
  #loadApp(): Promise<AdminApp> {
    this.#app ??= import('./app.ts').then(({ AdminApp }) => new AdminApp({ control: this.#control, log: this.#log }))
    return this.#app
  }
}
