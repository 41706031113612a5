import { type Stage, Verdict } from '../../dns/contracts.ts'
import { HEADER_LENGTH } from '../../dns/header.ts'
import { lower } from '../../dns/name.ts'
import type { Query } from '../../dns/query.ts'
import { type Denials, denialsOf, namesDownTo, placesOf, SpecialPlace } from './special-place.ts'
import { SPECIAL_ZONES, type SpecialZone } from './special-zones.ts'
import { SuffixTable } from './suffix-table.ts'

/** What is answered here; null for what is asked of upstreams. */
export type SpecialNames = SuffixTable<SpecialPlace | null>

/** Answers special-use names (RFC 6761) before anything could be asked or remembered. */
export class SpecialNamesStage implements Stage {
  readonly name = 'special-names'
  /** May be exchanged while queries are under way. */
  names: SpecialNames

  constructor(names: SpecialNames) {
    this.names = names
  }

  onQuery(query: Query): Verdict {
    const place = this.names.find(query.wire, HEADER_LENGTH)
    if (place === null) return Verdict.NEXT
    const answer = place.answerTo(query)
    if (answer === null) return Verdict.NEXT
    query.answer = answer
    return Verdict.ANSWERED
  }
}

interface LocalZone extends SpecialZone {
  readonly denials: Denials
  readonly places: readonly SpecialPlace[]
}

const ZONES: readonly LocalZone[] = SPECIAL_ZONES.map((zone) => {
  const denials = denialsOf(zone)
  return { ...zone, denials, places: placesOf(zone, denials) }
})
const ZONE_OF = new SuffixTable<LocalZone | null>(
  ZONES.map((zone) => ({ suffix: zone.apex, value: zone })),
  null,
)

/**
 * All special-use names but those that `routes` send to upstreams: routes of the zone itself, of a name above or of one below it. The route
 * of the root is for names that nobody has said anything of.
 */
export function specialNames(routes: readonly { readonly suffix: Uint8Array }[]): SpecialNames {
  const suffixes = routes.map(({ suffix }) => suffix.map(lower)).filter(({ length }) => length > 1)
  const routed = new SuffixTable(
    suffixes.map((suffix) => ({ suffix, value: true })),
    false,
  )
  const places = new Map<string, { suffix: Uint8Array; value: SpecialPlace | null }>()
  const put = (suffix: Uint8Array, value: SpecialPlace | null): void => void places.set(keyOf(suffix), { suffix, value })
  for (const zone of ZONES) {
    for (const place of zone.places) if (!zone.mayForward || !routed.find(place.name, 0)) put(place.name, place)
  }
  for (const suffix of suffixes) {
    const zone = ZONE_OF.find(suffix, 0)
    if (zone?.mayForward !== true) continue
    put(suffix, null)
    const { nonexistent, noData } = zone.denials
    for (const name of namesDownTo(suffix, zone.apex)) {
      // RFC 8020 §2: where a name does not exist, nothing below it does, so those above a forwarded one have to
      const present = places.get(keyOf(name))?.value
      if (routed.find(name, 0) || (present !== undefined && present?.at !== nonexistent)) continue
      put(name, new SpecialPlace({ name, at: noData, below: nonexistent }))
    }
  }
  return new SuffixTable([...places.values()], null)
}

function keyOf(name: Uint8Array): string {
  return Buffer.from(name).toString('latin1')
}
