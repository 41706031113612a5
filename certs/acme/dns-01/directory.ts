import { rcodeText } from '../../../dns/mnemonics.ts'
import { reasonOf } from '../../../dns/operational-error.ts'
import { nameText } from '../../../dns/text-name.ts'
import { Type } from '../../../dns/types.ts'
import { type Endpoint, isWildcard } from '../../../net/address.ts'
import { queryFor, type Source } from './client.ts'
import { Response } from './response.ts'

/** Beyond what anybody has on purpose. */
const MAX_ALIASES = 8
/** Servers of a zone that are looked at, and addresses of one. */
const MAX_NAME_SERVERS = 13
const MAX_ADDRESSES = 4
const DNS_PORT = 53

export interface NameServer {
  /** For people. */
  readonly name: string
  readonly endpoints: readonly Endpoint[]
}

/** Finds out where names lead, and who has them. Rejects with an Error whose message is the bare reason. Names are in wire form. */
export class Directory {
  readonly #sources: () => readonly Source[]

  /** The first source that knows something is believed. */
  constructor(sources: () => readonly Source[]) {
    this.#sources = sources
  }

  /** The name that `name` is an alias of (RFC 1034 §3.6.2), over as many aliases as there are; itself when it is none. */
  async endOfAliases(name: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    let end = name
    for (let aliases = 0; aliases <= MAX_ALIASES; aliases++) {
      const target = (await this.#ask(end, Type.CNAME, signal)).aliasOf(end)
      if (target === null) return end
      end = target
    }
    throw new Error(`${nameText(name, 0)} leads over more than ${MAX_ALIASES} aliases, or back to itself`)
  }

  /** The zone in which `name` is: that of the nearest SOA record at or above it. */
  async zoneOf(name: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    for (let at = 0; name[at] !== 0; at += 1 + (name[at] as number)) {
      const candidate = name.subarray(at)
      const zone = (await this.#ask(candidate, Type.SOA, signal)).zoneOf(candidate)
      if (zone !== null && zone.length > 1) return zone
    }
    throw new Error(`no zone is known in which ${nameText(name, 0)} is`)
  }

  /** Those of the zone's NS records that have addresses. */
  async nameServersOf(zone: Uint8Array, signal: AbortSignal): Promise<readonly NameServer[]> {
    const hosts = (await this.#ask(zone, Type.NS, signal)).nameServersOf(zone).slice(0, MAX_NAME_SERVERS)
    const servers = await Promise.all(hosts.map((host) => this.#serverAt(host, signal)))
    const found = servers.filter(({ endpoints }) => endpoints.length > 0)
    if (found.length === 0) throw new Error(`no server of the zone ${nameText(zone, 0)} has an address`)
    return found
  }

  async #serverAt(host: Uint8Array, signal: AbortSignal): Promise<NameServer> {
    const families = await Promise.allSettled([Type.A, Type.AAAA].map((type) => this.#ask(host, type, signal)))
    const addresses = families.flatMap((family) => (family.status === 'fulfilled' ? family.value.addresses : []))
    // as a destination the kernel takes a wildcard for ourselves
    const endpoints = addresses
      .filter((address) => !isWildcard(address))
      .slice(0, MAX_ADDRESSES)
      .map((address) => ({ host: address, port: DNS_PORT }))
    return { name: nameText(host, 0) ?? '', endpoints }
  }

  async #ask(name: Uint8Array, type: number, signal: AbortSignal): Promise<Response> {
    const failures: string[] = []
    for (const source of this.#sources()) {
      try {
        const response = Response.read(await source.ask(queryFor(name, type, { recursionDesired: true }), signal))
        const obstacle = obstacleTo(response)
        if (response !== null && obstacle === null) return response
        failures.push(`${source.name}: ${obstacle}`)
      } catch (error) {
        signal.throwIfAborted()
        failures.push(`${source.name}: ${reasonOf(error)}`)
      }
    }
    throw new Error(
      failures.length === 0
        ? 'no resolver is known that is not the gateway itself'
        : `${nameText(name, 0)} is not found: ${failures.join('; ')}`,
    )
  }
}

/** Why it says nothing of the name. */
function obstacleTo(response: Response | null): string | null {
  if (response === null) return 'the answer is malformed'
  if (!response.isConclusive) return rcodeText(response.rcode)
  // RFC 1034 §4.3.1: it refers to others
  return response.isAuthoritative || response.recurses ? null : 'it is not responsible for the name'
}
