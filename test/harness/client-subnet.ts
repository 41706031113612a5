import assert from 'node:assert/strict'
import { Failure } from '../../dns/failure.ts'
import type { ClientSubnetMode } from '../../gateway/stages/client-subnet.ts'
import { parseAddress } from '../../net/address.ts'
import { Lab, type Reply } from './lab.ts'
import { aRecord, client, hex, record } from './messages.ts'

export const NAME = 'www.example'

/** The option, from "192.0.2.0/24": SOURCE and ADDRESS as they are written. */
export function option(prefix: string, scope = 0): string {
  const [host = '', bits = ''] = prefix.split('/')
  const address = Buffer.from(parseAddress(host) ?? assert.fail(prefix))
  const source = Number(bits)
  const isIpv6 = host.includes(':')
  const octets = address.subarray(isIpv6 ? 0 : 12).subarray(0, Math.ceil(source / 8))
  const data = Buffer.concat([Buffer.from([0, isIpv6 ? 2 : 1, source, scope]), octets])
  return Buffer.concat([Buffer.from([0, 8, 0, data.length]), data]).toString('hex')
}

/** An OPT record with one option of a server. */
export function opt(options: string): Buffer {
  const rdata = hex(options)
  return record({ owner: Buffer.from([0]), type: 41, class: 1232, ttl: 0, rdata })
}

export function labOf(mode: ClientSubnetMode, options: ConstructorParameters<typeof Lab>[0] = {}): Lab {
  const lab = new Lab(options)
  lab.clientSubnet.mode = mode
  return lab
}

export const from = (address: string) => client('tcp', { address, octets: parseAddress(address) ?? assert.fail(address) })

/** Asks, with an option where a prefix is given. */
export function ask(lab: Lab, prefix: string | null, of = from('127.0.0.1')): Reply {
  return lab.ask({ name: NAME, opt: prefix === null ? '' : option(prefix) }, of)
}

/** The next open question is answered: an address that tells which answer it is, for `scope` bits of `prefix`. */
export function answer(
  lab: Lab,
  address: string,
  { prefix, scope = 0, ttl = 300 }: { prefix?: string; scope?: number; ttl?: number } = {},
): void {
  lab.answer({ answers: [aRecord(address, { ttl })], additionals: prefix === undefined ? [] : [opt(option(prefix, scope))] })
}

/** What was answered at once, from memory; null: it was asked. */
export function known(lab: Lab, prefix: string | null, of = from('127.0.0.1')): string | null {
  const before = lab.sent
  const reply = ask(lab, prefix, of)
  if (lab.sent > before) {
    assert.equal(reply.message, null)
    lab.fail(Failure.overloaded) // of which nothing is remembered
    return null
  }
  return addressIn(reply)
}

/** The address of an answer with one record. */
export function addressIn({ wire }: Reply): string {
  const at = wire.indexOf(hex('c00c00010001')) + 12
  return wire.subarray(at, at + 4).join('.')
}

/** What the upstream was asked with, oldest first. */
export const asked = (lab: Lab) =>
  lab.asked.map(({ query: { subnet } }) =>
    subnet.family === 0 ? 'none' : `${subnet.family}:${(subnet.high >>> 0).toString(16)}/${subnet.source}`,
  )
