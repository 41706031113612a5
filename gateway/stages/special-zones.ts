import { parseNameText } from '../../dns/text-name.ts'
import { SuffixTable } from './suffix-table.ts'

/**
 * What is said of the names of a zone (docs/special-names.md). `localhost`: the loopback addresses, for all of them. `absent`: none of them
 * exists. `empty`: there is the zone, and nothing below its apex (RFC 6303 §3). `blank`: all of them exist, and have nothing.
 */
export type SpecialContents = 'localhost' | 'absent' | 'empty' | 'blank'

/** A name that means nothing to the public DNS, and whose look-up would tell others about its user; with all names below it. */
export interface SpecialZone {
  /** Wire form, lower case. */
  readonly apex: Uint8Array
  readonly contents: SpecialContents
  /** Whether the operator may have it asked of upstreams, by a route. */
  readonly mayForward: boolean
  /** The name within it that points to localhost; wire form. */
  readonly pointer?: Uint8Array
}

const LOOPBACK_V4 = '127.in-addr.arpa'
const LOOPBACK_V6 = `1.${'0.'.repeat(31)}ip6.arpa`

/** The registries of special-use names (RFC 6761) and of locally served zones (RFC 6303), but for what is to be asked of the DNS. */
export const SPECIAL_ZONES: readonly SpecialZone[] = [
  // asked of nobody, whatever the operator wishes: somebody else could say that localhost is elsewhere, or learn which onion is sought
  ...zones(['localhost'], { contents: 'localhost', mayForward: false }), // RFC 6761 §6.3
  ...zones(['invalid', 'onion'], { contents: 'absent', mayForward: false }), // RFC 6761 §6.4, RFC 7686 §2
  // RFC 9462 §6.4: without designated resolvers of our own; those of the upstream would fail a client's verification
  ...zones(['resolver.arpa'], { contents: 'blank', mayForward: false }),
  // RFC 6761 §6.2, RFC 6762 §22.1 (multicast DNS), RFC 9476 §2
  ...zones(['test', 'local', 'alt'], { contents: 'absent', mayForward: true }),
  // RFC 9031 §11, RFC 9965, and RFC 9140, which that one takes back: labels of protocols, no hosts
  ...zones(['6tisch.arpa', 'eap.arpa', 'eap-noob.arpa'], { contents: 'absent', mayForward: true }),
  ...zones(['home.arpa', 'service.arpa'], { contents: 'empty', mayForward: true }), // RFC 8375 §4, RFC 9665 §8.4
  ...zones(reverseZones(), { contents: 'empty', mayForward: true }),
  { ...zone(LOOPBACK_V4, { contents: 'empty', mayForward: true }), pointer: wire(`1.0.0.${LOOPBACK_V4}`) },
  { ...zone(LOOPBACK_V6, { contents: 'empty', mayForward: true }), pointer: wire(LOOPBACK_V6) },
]

const RESERVED = new SuffixTable(
  SPECIAL_ZONES.filter(({ mayForward }) => !mayForward).map(({ apex }) => ({ suffix: apex, value: true })),
  false,
)

/** Whether a route may send the names at and below `suffix`, in wire form, to upstreams. */
export function mayForward(suffix: Uint8Array): boolean {
  return !RESERVED.find(suffix, 0)
}

/** Of addresses that mean something else in every network, or nothing in any. */
function reverseZones(): readonly string[] {
  return [
    // RFC 6303 §4.1: private networks
    '10.in-addr.arpa',
    ...numbered(16, 31, '172.in-addr.arpa'),
    '168.192.in-addr.arpa',
    ...numbered(64, 127, '100.in-addr.arpa'), // RFC 7793: shared between a provider and its customers
    // RFC 6303 §4.2: this network, the link, documentation, broadcast
    ...['0', '254.169', '2.0.192', '100.51.198', '113.0.203', '255.255.255.255'].map((name) => `${name}.in-addr.arpa`),
    // RFC 6303 §4.3-4.6: unspecified, unique local, link-local, documentation; RFC 9637: more documentation
    ...['0.'.repeat(32), 'd.f.', '8.e.f.', '9.e.f.', 'a.e.f.', 'b.e.f.', '8.b.d.0.1.0.0.2.', '0.f.f.f.3.'].map((name) => `${name}ip6.arpa`),
  ]
}

function numbered(first: number, last: number, parent: string): readonly string[] {
  return Array.from({ length: last - first + 1 }, (_, i) => `${first + i}.${parent}`)
}

function zones(names: readonly string[], rest: Omit<SpecialZone, 'apex'>): readonly SpecialZone[] {
  return names.map((name) => zone(name, rest))
}

function zone(name: string, rest: Omit<SpecialZone, 'apex'>): SpecialZone {
  return { apex: wire(name), ...rest }
}

function wire(name: string): Uint8Array {
  const parsed = parseNameText(name)
  if (parsed === null) throw new RangeError(`Cannot make a special-use name: received ${name}`)
  return parsed
}
