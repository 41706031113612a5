import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { u16 } from '../dns/bytes.ts'
import { answerCount, Flag, flagsOf, HEADER_LENGTH } from '../dns/header.ts'
import { Rcode } from '../dns/types.ts'
import { questionOf } from './traffic.ts'

/** Questions on their way at a time. */
const WINDOW = 200
/** Asked again after this long, and given up the third time. */
const PATIENCE_MS = 1000
const TRIES = 3
/** How exactly the first answer is timed. */
const AGAIN_MS = 2

interface Open {
  readonly name: string
  readonly sentAt: number
  readonly tries: number
}

/** A client that asks for many names at once over UDP. */
export class UdpAsker {
  readonly #socket: Socket
  readonly #open = new Map<number, Open>()
  #lastId = 0
  #answered = 0

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('message', (message) => this.#onMessage(message))
    // while nobody listens yet: asked again, or given up
    socket.on('error', () => {})
  }

  static async connect(port: number): Promise<UdpAsker> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 ** 2 })
    socket.connect(port, '127.0.0.1')
    await once(socket, 'connect')
    return new UdpAsker(socket)
  }

  /** How many of the names have got records for an answer. */
  async ask(names: readonly string[]): Promise<number> {
    this.#answered = 0
    for (const name of names) {
      this.#send(name, 1)
      while (this.#open.size >= WINDOW) await this.#turn()
    }
    while (this.#open.size > 0) await this.#turn()
    return this.#answered
  }

  /** Asks for `name` again and again until it gets records for an answer; false when that takes too long. */
  async askUntilAnswered(name: string, timeoutMs: number): Promise<boolean> {
    const until = performance.now() + timeoutMs
    for (this.#answered = 0; this.#answered === 0 && performance.now() < until; await sleep(AGAIN_MS)) this.#send(name, TRIES)
    this.#open.clear()
    return this.#answered > 0
  }

  close(): void {
    this.#socket.close()
  }

  #send(name: string, tries: number): void {
    this.#lastId = (this.#lastId + 1) & 0xffff
    this.#open.set(this.#lastId, { name, sentAt: performance.now(), tries })
    this.#socket.send(questionOf(name, this.#lastId))
  }

  #onMessage(message: Buffer): void {
    if (message.length < HEADER_LENGTH || !this.#open.delete(u16(message, 0))) return
    if ((flagsOf(message) & Flag.RCODE) === Rcode.NOERROR && answerCount(message) > 0) this.#answered++
  }

  /** Lets answers come in, and asks again for what is overdue. */
  async #turn(): Promise<void> {
    await sleep(1)
    const overdue = performance.now() - PATIENCE_MS
    for (const [id, { name, sentAt, tries }] of this.#open) {
      // they are in the order in which they were sent
      if (sentAt > overdue) return
      this.#open.delete(id)
      if (tries < TRIES) this.#send(name, tries + 1)
    }
  }
}
