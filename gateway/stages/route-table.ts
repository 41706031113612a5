import type { Route } from '../../dns/contracts.ts'
import { SuffixTable } from './suffix-table.ts'

/** Names at and below `suffix` go this way. */
export interface SuffixRoute {
  /** Wire form; the root is every name. */
  readonly suffix: Uint8Array
  readonly route: Route
}

/** Which way a name goes: that of the longest suffix it ends with. */
export class RouteTable extends SuffixTable<Route> {
  constructor(routes: readonly SuffixRoute[], fallback: Route) {
    super(
      routes.map(({ suffix, route }) => ({ suffix, value: route })),
      fallback,
    )
  }
}
