import { copyOf } from '../../dns/bytes.ts'
import { subnetOfAddress, subnetOfOption } from '../../dns/client-subnet.ts'
import { type Stage, Verdict } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import type { Query } from '../../dns/query.ts'

/** forward: what clients say of their network is sent on; add: besides, it is said for those who say nothing. */
export type ClientSubnetMode = 'off' | 'forward' | 'add'

/** Settles what upstreams are told of a client's network (RFC 7871), and so for whom the answer is. */
export class ClientSubnetStage implements Stage {
  readonly name = 'client-subnet'
  /** Off: as if there were no such option (conformance P-5). */
  mode: ClientSubnetMode

  constructor(mode: ClientSubnetMode) {
    this.mode = mode
  }

  onQuery(query: Query): Verdict {
    if (this.mode === 'off') return Verdict.NEXT
    if (query.clientSubnetAt > 0) return this.#take(query)
    if (this.mode === 'add') query.subnet = subnetOfAddress(query.client.octets)
    return Verdict.NEXT
  }

  /** RFC 7871 §7.1.3, §7.5: never more than the client says, and nothing in place of what it does not say. */
  #take(query: Query): Verdict {
    const { wire, clientSubnetAt: at, clientSubnetLength: length } = query
    const subnet = subnetOfOption(wire, at, length)
    if (subnet === null) {
      query.failure = Failure.malformed_message
      return Verdict.FAILED
    }
    query.subnet = subnet
    query.clientSubnet = copyOf(wire.subarray(at, at + length), length)
    return Verdict.NEXT
  }
}
