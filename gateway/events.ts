import type { ControlEvent } from './admin/control.ts'

type Listener = (event: ControlEvent) => void

/** What happens to the gateway as a whole, for whoever follows it: rare events, none for a query. */
export class Events {
  readonly #listeners = new Set<Listener>()
  #lastId = 0

  emit(type: ControlEvent['type'], message: string, facts: ControlEvent['facts'] = {}): void {
    const event = { id: ++this.#lastId, at: new Date().toISOString(), type, message, facts }
    for (const listener of this.#listeners) listener(event)
  }

  follow(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }
}
