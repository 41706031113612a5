import type { ServerResponse } from 'node:http'
import type { EventFeed } from './events.ts'

/** A dashboard and a few people, leaving connections of the door for everything else. */
const MAX_FOLLOWERS = 8
/** Under the 30 s and 60 s after which load balancers cut silent connections. */
const HEARTBEAT_MS = 15_000
const HEARTBEAT = ': \n\n'
/** Octets waiting for one follower: hundreds of events. */
const MAX_WAITING = 65_536

/** Who follows the events through one door. Nobody is waited for: who reads too slowly is cut off. */
export class Followers {
  readonly #feed: EventFeed
  /** Whether the last heartbeat of each is still waiting to be sent. */
  readonly #beating = new Map<ServerResponse, boolean>()
  #unsubscribe: (() => void) | null = null
  #timer: NodeJS.Timeout | null = null

  constructor(feed: EventFeed) {
    this.#feed = feed
  }

  /** `lastEventId` null: only what comes from now on. False: there is no room. */
  add(response: ServerResponse, lastEventId: number | null): boolean {
    if (this.#beating.size >= MAX_FOLLOWERS) return false
    if (this.#beating.size === 0) this.#start()
    this.#beating.set(response, false)
    response.once('close', () => this.#forget(response))
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    // something has to be written, or the head would wait for the first event
    response.write(`: following\n\n${lastEventId === null ? '' : this.#feed.since(lastEventId)}`)
    return true
  }

  has(response: ServerResponse): boolean {
    return this.#beating.has(response)
  }

  /** Ends all of them. */
  end(): void {
    for (const response of this.#beating.keys()) {
      this.#forget(response)
      response.end()
    }
  }

  #start(): void {
    this.#unsubscribe = this.#feed.subscribe((text) => this.#send(text))
    this.#timer = setInterval(() => this.#beat(), HEARTBEAT_MS).unref()
  }

  #forget(response: ServerResponse): void {
    this.#beating.delete(response)
    if (this.#beating.size > 0) return
    this.#unsubscribe?.()
    clearInterval(this.#timer ?? undefined)
  }

  #drop(response: ServerResponse): void {
    this.#forget(response)
    response.destroy()
  }

  #send(text: string): void {
    for (const response of this.#beating.keys()) {
      if (response.writableLength + text.length > MAX_WAITING) this.#drop(response)
      else response.write(text)
    }
  }

  #beat(): void {
    for (const [response, isWaiting] of this.#beating) {
      if (isWaiting) {
        this.#drop(response)
        continue
      }
      this.#beating.set(response, true)
      response.write(HEARTBEAT, () => this.#beaten(response))
    }
  }

  #beaten(response: ServerResponse): void {
    if (this.#beating.has(response)) this.#beating.set(response, false)
  }
}
