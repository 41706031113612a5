import type { Answer } from '../../dns/answer.ts'
import { type Stage, Verdict } from '../../dns/contracts.ts'
import { HEADER_LENGTH } from '../../dns/header.ts'
import { lower } from '../../dns/name.ts'
import type { Query } from '../../dns/query.ts'
import { Rcode, Type } from '../../dns/types.ts'
import { localAnswer, OWNER, recordOf, uint32 } from './local-answer.ts'

/** RFC 6303 §3: TTL and negative TTL of locally served zones, seconds. */
const TTL_SECONDS = 10_800

interface SpecialName {
  /** Labels from the top of the tree downwards. */
  readonly labels: readonly string[]
  readonly answer: (query: Query) => Answer
}

/**
 * Names that mean nothing to the public DNS and whose look-up would tell others about its user; they and all names below
 * them are answered here.
 */
const SPECIAL_NAMES: readonly SpecialName[] = [
  { labels: ['localhost'], answer: localhost() }, // RFC 6761 §6.3
  { labels: ['invalid'], answer: always(denial('invalid', Rcode.NXDOMAIN)) }, // RFC 6761 §6.4
  { labels: ['local'], answer: always(denial('local', Rcode.NXDOMAIN)) }, // RFC 6762 §22.1: multicast DNS
  { labels: ['onion'], answer: always(denial('onion', Rcode.NXDOMAIN)) }, // RFC 7686 §2
  { labels: ['alt'], answer: always(denial('alt', Rcode.NXDOMAIN)) }, // RFC 9476 §2
  // RFC 9462 §6.4: without designated resolvers of our own; those of the upstream would fail a client's verification
  { labels: ['arpa', 'resolver'], answer: always(denial('resolver.arpa', Rcode.NOERROR)) },
]

/** Answers special-use names (RFC 6761) before anything could be asked or remembered. */
export class SpecialNamesStage implements Stage {
  readonly name = 'special-names'
  /** Offsets of the labels of the name at hand. */
  readonly #labels = new Uint8Array(128)

  onQuery(query: Query): Verdict {
    const count = this.#readLabels(query)
    for (const special of SPECIAL_NAMES) {
      if (!this.#isBelow(query, special.labels, count)) continue
      query.answer = special.answer(query)
      return Verdict.ANSWERED
    }
    return Verdict.NEXT
  }

  /** Offsets from the start of the name: at most 255, so an octet each. */
  #readLabels(query: Query): number {
    let count = 0
    for (let at = HEADER_LENGTH; query.wire[at] !== 0; at += 1 + (query.wire[at] as number)) this.#labels[count++] = at - HEADER_LENGTH
    return count
  }

  #isBelow(query: Query, labels: readonly string[], count: number): boolean {
    if (count < labels.length) return false
    for (let i = 0; i < labels.length; i++) {
      if (!isLabel(query.wire, HEADER_LENGTH + (this.#labels[count - 1 - i] as number), labels[i] ?? '')) return false
    }
    return true
  }
}

function isLabel(wire: Uint8Array, at: number, label: string): boolean {
  if (wire[at] !== label.length) return false
  for (let i = 0; i < label.length; i++) if (lower(wire[at + 1 + i] as number) !== label.charCodeAt(i)) return false
  return true
}

function always(answer: Answer): (query: Query) => Answer {
  return () => answer
}

function localhost(): (query: Query) => Answer {
  const v4 = address(Type.A, [127, 0, 0, 1])
  const v6 = address(Type.AAAA, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
  const none = denial('localhost', Rcode.NOERROR)
  return (query) => (query.qtype === Type.A ? v4 : query.qtype === Type.AAAA ? v6 : none)
}

/** One address record whose owner is the question's name. */
function address(type: number, octets: readonly number[]): Answer {
  const records = recordOf(OWNER, type, TTL_SECONDS, octets)
  return localAnswer({ rcode: Rcode.NOERROR, records, answers: 1, freshness: TTL_SECONDS })
}

/** RFC 2308 §2: a denial with the SOA record of its zone, as RFC 6303 §3 words it. */
function denial(zone: string, rcode: number): Answer {
  const owner = [...zone.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]), 0]
  const nobody = [6, ...Buffer.from('nobody'), 7, ...Buffer.from('invalid'), 0]
  const numbers = [1, 3600, 1200, 604_800, TTL_SECONDS].flatMap((value) => [...uint32(value)])
  const records = recordOf(owner, Type.SOA, TTL_SECONDS, [...owner, ...nobody, ...numbers])
  return localAnswer({ rcode, records, authorities: 1, freshness: TTL_SECONDS })
}
