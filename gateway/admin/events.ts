import type { Control, ControlEvent } from './control.ts'

/** What a follower can catch up with. Reloads and worker losses are rare: these are days, or one bad minute. */
const KEPT = 128

interface Kept {
  readonly id: number
  readonly text: string
}

/** The events of the control plane in the form of server-sent events, for all who follow them; the last ones are kept. */
export class EventFeed {
  readonly #control: Pick<Control, 'follow'>
  readonly #kept: Kept[] = []
  readonly #listeners = new Set<(text: string) => void>()
  #stop: (() => void) | null = null

  constructor(control: Pick<Control, 'follow'>) {
    this.#control = control
  }

  start(): void {
    this.#stop ??= this.#control.follow((event) => this.#publish(event))
  }

  stop(): void {
    this.#stop?.()
    this.#stop = null
  }

  subscribe(listener: (text: string) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** What came after the event `lastEventId`, as far as it is kept. An id that is still to come is of a process before this one: then all. */
  since(lastEventId: number): string {
    const newest = this.#kept.at(-1)?.id ?? 0
    const after = lastEventId > newest ? 0 : lastEventId
    let text = ''
    for (const kept of this.#kept) if (kept.id > after) text += kept.text
    return text
  }

  #publish(event: ControlEvent): void {
    // JSON has no line ends of its own, so it is one line of data
    const text = `id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
    if (this.#kept.push({ id: event.id, text }) > KEPT) this.#kept.shift()
    for (const listener of this.#listeners) listener(text)
  }
}
