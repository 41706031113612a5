import { parseAddress } from '../../net/address.ts'
import { record, response, wireName } from './messages.ts'
import type { Handler } from './servers.ts'

/** What a zone says of one name. */
export interface ZoneName {
  readonly addresses?: readonly string[]
  readonly ttl?: number
  /** The names that it is an alias of, one after the other, before its addresses; and the TTL of each alias. */
  readonly aliases?: readonly string[]
  readonly aliasTtl?: number
}

/** A resolver that knows these names, in lower case; an RCODE in place of a name is what it says of it, null that it says nothing. What it is made of may change. */
export type Zone = Map<string, ZoneName | number | null>

const NXDOMAIN = 3

export function answeringFrom(zone: Zone): Handler {
  return (query, reply) => {
    const { name, type } = questionOf(query)
    const known = zone.get(name)
    if (known === null) return
    if (known === undefined || typeof known === 'number') return reply(response(query, { flags: 0x8180 | (known ?? NXDOMAIN) }))
    reply(response(query, { answers: recordsOf(known, name, type) }))
  }
}

function recordsOf({ addresses = [], ttl = 300, aliases = [], aliasTtl = 300 }: ZoneName, name: string, type: number): readonly Buffer[] {
  const owners = [name, ...aliases]
  const chain = aliases.map((alias, i) => record({ owner: wireName(owners[i] ?? ''), type: 5, ttl: aliasTtl, rdata: wireName(alias) }))
  const owner = wireName(owners.at(-1) ?? '')
  const found = addresses.flatMap((address) => {
    const octets = Buffer.from(parseAddress(address) ?? [])
    const isFour = !address.includes(':')
    return (type === 1) === isFour && (isFour || type === 28)
      ? [record({ owner, type, ttl, rdata: isFour ? octets.subarray(12) : octets })]
      : []
  })
  return [...chain, ...found]
}

export function questionOf(query: Uint8Array): { readonly name: string; readonly type: number } {
  const message = Buffer.from(query)
  const labels: string[] = []
  let at = 12
  for (let length = message[at] ?? 0; length > 0; length = message[at] ?? 0) {
    labels.push(message.toString('latin1', at + 1, at + 1 + length).toLowerCase())
    at += length + 1
  }
  return { name: labels.join('.'), type: message.readUInt16BE(at + 1) }
}
