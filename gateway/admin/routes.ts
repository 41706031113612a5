import { createRoute, z } from '@hono/zod-openapi'
import { MAX_UPSTREAM_NAME } from '../config/knobs.ts'
import { CertificateStatus } from './certificate-schemas.ts'
import { REFUSALS, type RefusalCode } from './refusal.ts'
import { reloadOutcomes } from './reload-schemas.ts'
import { list } from './schema-tools.ts'
import * as schemas from './schemas.ts'

/** A domain name in presentation form with every octet escaped has 1,020 characters (RFC 1035 §3.1, §5.1). */
const MAX_NAME_LENGTH = 1_024

const json = <S extends z.ZodType>(schema: S, description: string) => ({ description, content: { 'application/json': { schema } } })
const text = (description: string) => ({ description, content: { 'text/plain': { schema: z.string() } } })

const REASONS: Readonly<Record<RefusalCode, string>> = {
  bad_request: 'A parameter is missing, wrong or unknown.',
  unauthorized: 'TCP: the token is missing or wrong.',
  forbidden: 'TCP: no token is configured.',
  not_found: 'There is no such thing; the message names those that there are.',
  method_not_allowed: 'The header Allow names the methods that there are.',
  conflict: 'The gateway is starting or ending.',
  content_too_large: 'The request has more than 64 KiB of content.',
  misdirected_request: 'TCP: Host is no IP address, not localhost, and not in listen.admin.hosts.',
  unprocessable: 'It was tried, and failed; what there was stays in use.',
  too_many_requests: 'TCP: too many wrong tokens from this address; see Retry-After.',
  internal: 'A defect; the log has more.',
  not_implemented: 'The method is not known.',
  unavailable: 'There is no room, or the address is given up.',
}

type Refused<Code extends RefusalCode> = {
  [Name in Code as (typeof REFUSALS)[Name]]: ReturnType<typeof json<typeof schemas.ErrorResponse>>
}

function refused<Code extends RefusalCode>(...codes: Code[]): Refused<Code> {
  return Object.fromEntries(codes.map((code) => [REFUSALS[code], json(schemas.ErrorResponse, REASONS[code])])) as Refused<Code>
}

/** Query parameters, and no others: a misspelt dryRun is no reload. */
function parameters<Shape extends z.ZodRawShape>(shape: Shape) {
  const names = Object.keys(shape)
  return z.strictObject(shape, { error: `expected no parameter${names.length === 0 ? '' : ` but ${names.join(', ')}`}` })
}

const everywhere = refused('bad_request', 'unauthorized', 'forbidden', 'misdirected_request', 'too_many_requests', 'internal')
const open = { security: [], tags: ['monitoring'] }
const nothing = { query: parameters({}) }
const domainName = z
  .string({ error: 'expected a domain name' })
  .min(1, 'expected a domain name')
  .max(MAX_NAME_LENGTH, 'expected a domain name')
const certificateName = z
  .string({ error: 'expected a name of a certificate' })
  .min(1, 'expected a name of a certificate')
  .max(MAX_NAME_LENGTH, 'expected a name of a certificate')
const upstreamName = { params: z.object({ name: z.string().max(MAX_UPSTREAM_NAME, 'expected the name of an upstream') }), ...nothing }

export const metrics = createRoute({
  method: 'get',
  path: '/metrics',
  summary: 'Metrics, as docs/metrics.md has them',
  ...open,
  responses: { 200: text('Prometheus text format 0.0.4.') },
})

export const healthz = createRoute({
  method: 'get',
  path: '/healthz',
  summary: 'Whether the process can answer',
  ...open,
  responses: { 200: text('"ok".') },
})

export const readyz = createRoute({
  method: 'get',
  path: '/readyz',
  summary: 'Whether queries are being taken',
  ...open,
  responses: { 200: text('"ready".'), 503: text('"not ready: …", a line for each reason.') },
})

export const status = createRoute({
  method: 'get',
  path: '/v1/status',
  summary: 'The gateway as a whole',
  request: nothing,
  responses: { 200: json(schemas.Status, 'What it is and what it has done.'), ...everywhere },
})

export const configuration = createRoute({
  method: 'get',
  path: '/v1/config',
  summary: 'The configuration in use',
  request: nothing,
  responses: { 200: json(schemas.Configuration, 'Without secrets.'), ...everywhere },
})

export const listeners = createRoute({
  method: 'get',
  path: '/v1/listeners',
  summary: 'The addresses on which DNS is served',
  request: nothing,
  responses: { 200: json(list(schemas.ListenerStatus), 'In the order of the configuration.'), ...everywhere },
})

export const upstreams = createRoute({
  method: 'get',
  path: '/v1/upstreams',
  summary: 'The resolvers that are asked',
  request: nothing,
  responses: { 200: json(list(schemas.UpstreamStatus), 'In the order in which they are asked.'), ...everywhere },
})

export const enableUpstream = createRoute({
  method: 'post',
  path: '/v1/upstreams/{name}/enable',
  summary: 'Have an upstream asked again',
  request: upstreamName,
  responses: { 200: json(schemas.UpstreamStatus, 'The upstream as it is now.'), ...refused('not_found'), ...everywhere },
})

export const disableUpstream = createRoute({
  method: 'post',
  path: '/v1/upstreams/{name}/disable',
  summary: 'Have an upstream no longer asked, until it is enabled or the gateway restarts',
  request: upstreamName,
  responses: { 200: json(schemas.UpstreamStatus, 'The upstream as it is now.'), ...refused('not_found'), ...everywhere },
})

export const cache = createRoute({
  method: 'get',
  path: '/v1/cache',
  summary: 'What the cache holds, in figures',
  request: nothing,
  responses: { 200: json(schemas.CacheStatus, 'Of all workers together.'), ...everywhere },
})

export const cacheEntries = createRoute({
  method: 'get',
  path: '/v1/cache/entries',
  summary: 'What the cache knows of a name',
  request: { query: parameters({ name: domainName.describe('The name, as people write it.') }) },
  responses: { 200: json(schemas.CachedName, 'Empty lists: nothing is known.'), ...everywhere },
})

export const purge = createRoute({
  method: 'delete',
  path: '/v1/cache/entries',
  summary: 'Throw out of the cache: exactly one of name, suffix and all',
  request: {
    query: parameters({
      name: domainName.describe('This name, all types.').optional(),
      suffix: domainName.describe('This name and everything below it.').optional(),
      all: z.literal('true', { error: 'expected true' }).describe('Everything.').optional(),
    }).refine((query) => Object.keys(query).length === 1, 'expected exactly one of name, suffix and all'),
  },
  responses: { 200: json(schemas.PurgeOutcome, 'What is gone.'), ...everywhere },
})

export const certificates = createRoute({
  method: 'get',
  path: '/v1/certificates',
  summary: 'The certificates that there are to be, and how they are',
  request: nothing,
  responses: { 200: json(list(CertificateStatus), 'In the order in which they are served, without keys.'), ...everywhere },
})

export const renewCertificate = createRoute({
  method: 'post',
  path: '/v1/certificates/renew',
  summary: 'Renew a certificate at once',
  request: { query: parameters({ name: certificateName.describe('Any of its names.') }) },
  responses: {
    200: json(CertificateStatus, 'There is a new one, and it is served.'),
    202: json(CertificateStatus, 'It goes on: its field renewal, in GET /v1/certificates, tells what becomes of it.'),
    ...refused('not_found', 'conflict', 'unprocessable'),
    ...everywhere,
  },
})

export const rollOverAccount = createRoute({
  method: 'post',
  path: '/v1/certificates/roll-over',
  summary: 'Give the account at the CA another key',
  request: { query: parameters({ name: certificateName.describe('Any name of a certificate that the account has ordered.') }) },
  responses: {
    200: json(z.object({ done: z.literal(true) }), 'The CA knows the new key, and the one before is worth nothing.'),
    ...refused('not_found', 'conflict', 'unprocessable'),
    ...everywhere,
  },
})

export const events = createRoute({
  method: 'get',
  path: '/v1/events',
  summary: 'What happens, as server-sent events, until either side ends it',
  description: 'With the header Last-Event-ID, what came after that event and is still known (128 events) comes first.',
  request: nothing,
  responses: {
    200: {
      description: 'The data of each event is an Event; comments keep the connection open.',
      content: { 'text/event-stream': { schema: schemas.Event } },
    },
    ...refused('unavailable'),
    ...everywhere,
  },
})

export const reload = createRoute({
  method: 'post',
  path: '/v1/reload',
  summary: 'Read the configuration again and apply it',
  request: {
    query: parameters({
      dryRun: z
        .enum(['true', 'false'], { error: 'expected true or false' })
        .default('false')
        .describe('true: only tell what would change.'),
    }),
  },
  responses: {
    200: json(reloadOutcomes.done, 'Applied, unchanged or planned.'),
    409: json(reloadOutcomes.busy, 'Nothing was done.'),
    422: json(reloadOutcomes.wrong, 'Refused or rolled back: the configuration before stays in use.'),
    ...everywhere,
  },
})

export const drain = createRoute({
  method: 'post',
  path: '/v1/drain',
  summary: 'Take nothing new, answer what is open, end the process',
  request: nothing,
  responses: { 202: json(schemas.Draining, 'Begun.'), ...everywhere },
})

export const document = createRoute({
  method: 'get',
  path: '/openapi.json',
  summary: 'This document',
  request: nothing,
  responses: { 200: json(z.record(z.string(), z.unknown()), 'OpenAPI 3.1.'), ...everywhere },
})
