import * as z from 'zod'
import { nameText, parseNameText } from '../../dns/text-name.ts'
import { mayForward } from '../stages/special-zones.ts'
import { closest } from './closest.ts'
import { distinct, settings, text } from './fields.ts'
import { MAX_ROUTES } from './knobs.ts'
import { show } from './problem.ts'
import type { UpstreamForm } from './upstream-form.ts'

/** One entry of `routes`. `suffix`: wire form, lower case. */
export interface RouteForm {
  readonly suffix: Uint8Array
  readonly upstreams: readonly string[]
}

const upstreamName = z.string({ error: 'expected the name of an upstream' })

const route = settings({
  suffix: text('expected a domain name, or "." for all', { parse: parseSuffix })
    .refine(mayForward, { error: 'expected a name that may be forwarded' })
    .describe('names at and below it; "." is every name'),
  upstreams: z
    .array(upstreamName, { error: 'expected a list of names of upstreams' })
    .min(1, { error: 'expected at least one upstream' })
    .describe('names of upstreams, asked in this order'),
})

export const routes = z
  .array(route, { error: 'expected a list of { suffix, upstreams }' })
  .max(MAX_ROUTES, { error: `expected at most ${MAX_ROUTES} routes` })
  .superRefine(distinct('expected each suffix only once', { path: ['routes'], keyOf: ({ suffix }) => nameText(suffix, 0) ?? '' }))

interface Root {
  readonly routes: readonly RouteForm[]
  readonly upstreams?: readonly UpstreamForm[] | undefined
}

/** Routes name upstreams, each of them once. */
export function checkRoutes({ routes, upstreams }: Root, context: z.core.$RefinementCtx): void {
  if (routes.length === 0) return
  if (upstreams === undefined) {
    const params = { received: 'routes without upstreams' }
    context.addIssue({ code: 'custom', path: ['routes'], message: 'expected "upstreams" beside it, whose names the routes use', params })
    return
  }
  const names = upstreams.map(({ name }) => name)
  for (const [i, route] of routes.entries()) {
    for (const [j, name] of route.upstreams.entries()) {
      const path = ['routes', i, 'upstreams', j]
      if (route.upstreams.indexOf(name) < j) context.addIssue({ code: 'custom', path, message: 'expected each upstream only once' })
      if (names.includes(name)) continue
      const guess = closest(name, names)
      const message =
        guess === null ? `expected one of ${names.join(', ')}` : `expected the name of an upstream, did you mean ${show(guess)}?`
      context.addIssue({ code: 'custom', path, message })
    }
  }
}

/** RFC 1035 §2.3.1 with the underscore of RFC 8552; "xn--" forms as they are. */
function parseSuffix(value: string): Uint8Array | null {
  const isName = value === '.' || /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?$/i.test(value)
  return isName ? parseNameText(value.toLowerCase()) : null
}
