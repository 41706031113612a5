import { u16 } from './bytes.ts'
import { HEADER_LENGTH } from './header.ts'
import { isAtOrBelow, sameName } from './name.ts'
import type { Query } from './query.ts'
import type { RecordTable } from './record-table.ts'
import { Class, Type } from './types.ts'

/** Longest alias chain followed (conformance NC-14). */
const MAX_ALIASES = 16
/**
 * Comparisons with the chain that one answer may cause. Honest answers need about one per alias, signature and name server;
 * the records of the RRset asked for are not counted. What is not compared is dropped.
 */
const MAX_COMPARISONS = 256

/**
 * Keeps an upstream from telling more than it was asked (RFC 2181 §5.4.1, conformance VAL-09): marks the records of an
 * answer that do not belong to the alias chain from the question's name.
 */
export class Relevance {
  /** Offsets of the names on the chain, the question's first. */
  readonly #chain = new Uint16Array(MAX_ALIASES + 1)
  #length = 0
  #comparisons = 0
  /** Whether the last name on the chain has a record of the type asked for. */
  answered = false

  /** Follows the chain through the first `answers` records; false when it loops or is too long. */
  follow(query: Query, message: Uint8Array, table: RecordTable, answers: number): boolean {
    this.#chain[0] = HEADER_LENGTH
    this.#length = 1
    this.#comparisons = 0
    if (query.qtype === Type.CNAME || query.qtype === Type.ANY) return true
    for (let from = 0; ; ) {
      const alias = this.#findAlias(message, table, { from, answers })
      if (alias < 0) return true
      const target = table.rdata(alias)
      if (this.#length > MAX_ALIASES || this.#has(message, target)) return false
      this.#chain[this.#length++] = target
      from = alias + 1
    }
  }

  /** Marks the answer records that are not on the chain. */
  markAnswers(query: Query, message: Uint8Array, table: RecordTable, answers: number): void {
    this.answered = false
    for (let i = 0; i < answers; i++) {
      if (u16(message, table.ttl(i) - 2) !== Class.IN || !this.#belongs(query, message, table, i)) table.drop(i)
    }
  }

  /** Marks what has no place in the authority section `from` up to `end`: only denials and the zone's own records help a client. */
  markAuthorities(message: Uint8Array, table: RecordTable, from: number, end: number): void {
    for (let i = from; i < end; i++) {
      const type = table.type(i)
      const proof = type === Type.NSEC || type === Type.NSEC3 || type === Type.RRSIG || type === Type.DS
      const zone = type === Type.SOA || type === Type.NS
      if (!proof && !(zone && ++this.#comparisons <= MAX_COMPARISONS && this.#isAboveChain(message, table.owner(i)))) table.drop(i)
    }
  }

  /** The record that is an alias of the last name. Chains come in order, so the search starts behind the previous alias. */
  #findAlias(message: Uint8Array, table: RecordTable, { from, answers }: { from: number; answers: number }): number {
    const name = this.#chain[this.#length - 1] as number
    for (let step = 0; step < answers; step++) {
      const i = (from + step) % answers
      if (table.type(i) !== Type.CNAME) continue
      if (++this.#comparisons > MAX_COMPARISONS) return -1
      if (sameName(message, table.owner(i), message, name)) return i
    }
    return -1
  }

  #belongs(query: Query, message: Uint8Array, table: RecordTable, i: number): boolean {
    const type = table.type(i)
    const owner = table.owner(i)
    const last = this.#chain[this.#length - 1] as number
    if ((type === query.qtype || query.qtype === Type.ANY) && sameName(message, owner, message, last)) {
      this.answered = true
      return true
    }
    if (++this.#comparisons > MAX_COMPARISONS) return false
    if (type === Type.CNAME) return this.#isAliasUsed(message, owner, table.rdata(i))
    if (type === Type.RRSIG) return this.#has(message, owner) || this.#isAboveChain(message, owner)
    return type === Type.DNAME && this.#isAboveChain(message, owner)
  }

  /** RFC 2181 §10.1: a name has one alias, the one the chain goes through. */
  #isAliasUsed(message: Uint8Array, owner: number, target: number): boolean {
    for (let i = 0; i + 1 < this.#length; i++) {
      if (this.#chain[i + 1] === target && sameName(message, owner, message, this.#chain[i] as number)) return true
    }
    return false
  }

  #has(message: Uint8Array, name: number): boolean {
    for (let i = this.#length - 1; i >= 0; i--) if (sameName(message, name, message, this.#chain[i] as number)) return true
    return false
  }

  #isAboveChain(message: Uint8Array, name: number): boolean {
    for (let i = this.#length - 1; i >= 0; i--) if (isAtOrBelow(message, this.#chain[i] as number, name)) return true
    return false
  }
}
