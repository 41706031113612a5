import type { Route } from './contracts.ts'
import { Failure } from './failure.ts'

/** Of a query that nobody has chosen servers for. */
export const NO_ROUTE: Route = Object.freeze({
  space: 0,
  upstream: Object.freeze({ name: 'none', send: (query, sink) => sink.failed(query, Failure.upstream_none) } satisfies Route['upstream']),
})
