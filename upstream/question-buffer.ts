import { putU16 } from '../dns/bytes.ts'
import type { Query } from '../dns/query.ts'
import { type QuestionOptions, writeQuestion } from '../dns/question.ts'
import { PREFIX_LENGTH } from '../net/framing.ts'

/** What a question takes at most, with name, options and padding: there is always so much room for the next one. */
const QUESTION_ROOM = 1024
/** First size; and the size beyond which the memory is given back, so that one crowd does not cost it for good. */
const FIRST_CAPACITY = 4096
const KEPT_CAPACITY = 65_536

/** The questions of one turn for one connection, written one behind the other with their prefixes. Whoever adds bounds it. */
export class QuestionBuffer {
  #bytes = Buffer.allocUnsafeSlow(FIRST_CAPACITY)
  #length = 0
  /** Where the last question begins. */
  #last = 0

  /** Octets. */
  get length(): number {
    return this.#length
  }

  add(query: Query, options: QuestionOptions): void {
    if (this.#bytes.length - this.#length < QUESTION_ROOM) this.#grow()
    this.#last = this.#length
    const at = this.#length + PREFIX_LENGTH
    const length = writeQuestion(query, this.#bytes, at, options)
    putU16(this.#bytes, this.#length, length)
    this.#length = at + length
  }

  /**
   * A copy of what is there, which the socket may keep. `keepsLast`: of several questions the last one is not taken, and becomes the
   * first of the next time.
   */
  take(keepsLast: boolean): Buffer {
    const length = keepsLast && this.#last > 0 ? this.#last : this.#length
    const taken = Buffer.allocUnsafe(length)
    this.#bytes.copy(taken, 0, 0, length)
    const next = this.#bytes.length > KEPT_CAPACITY ? Buffer.allocUnsafeSlow(FIRST_CAPACITY) : this.#bytes
    this.#bytes.copy(next, 0, length, this.#length)
    this.#bytes = next
    this.#length -= length
    this.#last = 0
    return taken
  }

  #grow(): void {
    const larger = Buffer.allocUnsafeSlow(2 * this.#bytes.length)
    this.#bytes.copy(larger, 0, 0, this.#length)
    this.#bytes = larger
  }
}
