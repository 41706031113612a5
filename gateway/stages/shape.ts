import { NO_KEEPALIVE, type Stage } from '../../dns/contracts.ts'
import { MIN_UDP_SIZE, OUR_UDP_SIZE } from '../../dns/edns.ts'
import { MAX_MESSAGE_LENGTH } from '../../dns/header.ts'
import { KEEPALIVE_ABSENT, type Query } from '../../dns/query.ts'

/** RFC 8467 §4.1: block length of padded answers, octets. */
const PADDING_BLOCK = 468

/** Settles how each answer looks on its client's transport: how large it may be, and what the OPT record says. */
export class ShapeStage implements Stage {
  readonly name = 'shape'
  /** Whether encrypted answers are padded. */
  padding: boolean

  constructor({ padding }: { padding: boolean }) {
    this.padding = padding
  }

  onAnswer(query: Query): void {
    const { traits, keepalive } = query.client
    if (traits.datagram) {
      // RFC 6891 §6.2.3, §7: what the client can take, at most what crosses every path; 512 without EDNS (RFC 1035 §4.2.1)
      query.sizeLimit = query.edns ? Math.min(query.udpSize, OUR_UDP_SIZE) : MIN_UDP_SIZE
    } else {
      query.sizeLimit = MAX_MESSAGE_LENGTH
    }
    // RFC 7830 §6: never on a clear transport; §4: without Padding in the query it may be added, P-7: it is
    query.padding = this.padding && traits.encrypted ? PADDING_BLOCK : 0
    // RFC 7828 §3.3.2: to who asked; a drain (0) is said to everybody
    const asked = query.keepaliveLength !== KEEPALIVE_ABSENT || keepalive === 0
    query.keepalive = asked && keepalive !== NO_KEEPALIVE ? keepalive : -1
  }
}
