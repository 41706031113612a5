import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'
import { canonicalAddress } from './address.ts'

type Interfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>

/**
 * What a wildcard of this family stands for: each address of an interface that is up, once. Of 127.0.0.0/8 that is what the loopback
 * interface says it has, mostly 127.0.0.1. Those that need a zone (RFC 4007 §11) are last: there may be one on every interface.
 */
export function interfaceAddresses(family: 'IPv4' | 'IPv6', interfaces: Interfaces = networkInterfaces()): readonly string[] {
  const own = Object.entries(interfaces).flatMap(([name, all = []]) =>
    all.filter((each) => each.family === family).map((each) => withZone(each, name)),
  )
  const isZoned = (host: string): boolean => host.includes('%')
  return [...new Set([...own.filter((host) => !isZoned(host)), ...own.filter(isZoned)])]
}

function withZone({ address, scopeid = 0 }: NetworkInterfaceInfo, name: string): string {
  return scopeid === 0 ? canonicalAddress(address) : `${canonicalAddress(address)}%${name}`
}
