import { type Stage, Verdict } from '../../dns/contracts.ts'
import { HEADER_LENGTH } from '../../dns/header.ts'
import type { Query } from '../../dns/query.ts'
import type { RouteTable } from './route-table.ts'

/** Chooses whom a name is asked of; before the cache, where what other servers say is kept apart. */
export class RouteStage implements Stage {
  readonly name = 'route'
  /** May be exchanged while queries are under way: those keep the way they have. */
  table: RouteTable

  constructor(table: RouteTable) {
    this.table = table
  }

  onQuery(query: Query): Verdict {
    query.route = this.table.find(query.wire, HEADER_LENGTH)
    return Verdict.NEXT
  }
}
