import { getRequestListener, type HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import type { Logger } from 'pino'
import { VERSION } from '../cli/version.ts'
import { show } from '../config/problem.ts'
import type { Control, PurgeTarget } from './control.ts'
import type { Door, DoorListener } from './door.ts'
import { errorBody, REFUSALS, type Refusal, type RefusalCode } from './refusal.ts'
import * as routes from './routes.ts'

/** Prometheus text format, https://prometheus.io/docs/instrumenting/exposition_formats/ */
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

interface Environment {
  Bindings: HttpBindings & { readonly door: Door }
}

type App = OpenAPIHono<Environment>

/** The control plane on HTTP, the same behind both doors. */
export class AdminApp {
  readonly #app: App

  constructor({ control, log }: { readonly control: Control; readonly log: Logger }) {
    const app: App = new OpenAPIHono<Environment>({
      defaultHook: (result, c) => (result.success ? undefined : refuse(c, wrongParameter(result.error.issues, c))),
    })
    app.use('*', (c, next) => {
      const refusal = refusalOf(c)
      return refusal === null ? next() : Promise.resolve(refuse(c, refusal))
    })
    addMonitoring(app, control)
    addResources(app, control)
    addCache(app, control)
    addActions(app, control)
    addCertificates(app, control)
    addDocument(app)
    addOtherMethods(app)
    app.notFound((c) =>
      refuse(c, { code: 'not_found', message: `expected one of ${pathsOf(app).join(', ')}: received ${show(c.req.path)}` }),
    )
    app.onError((error, c) => {
      log.error({ err: error }, 'cannot answer at the admin door')
      return refuse(c, { code: 'internal', message: 'expected an answer: received an error, which is in the log' })
    })
    this.#app = app
  }

  listenerOf(door: Door): DoorListener {
    return getRequestListener((request, bindings) => this.#app.fetch(request, { ...bindings, door }), { overrideGlobalObjects: false })
  }
}

function refusalOf(c: Context<Environment>): Refusal | null {
  const { door, incoming } = c.env
  const address = incoming.socket.remoteAddress ?? ''
  return (
    door.guard?.refuseCaller({ method: c.req.method, path: c.req.path, authorization: incoming.headers.authorization, address }) ?? null
  )
}

function refuse<Code extends RefusalCode>(c: Context, refusal: Refusal<Code>) {
  const status: (typeof REFUSALS)[Code] = REFUSALS[refusal.code]
  return c.json(errorBody(refusal), status, refusal.headers)
}

function addMonitoring(app: App, control: Control): void {
  app.openapi(routes.metrics, (c) => c.text(control.metrics(), 200, { 'content-type': METRICS_TYPE }))
  app.openapi(routes.healthz, (c) => c.text('ok\n', 200))
  app.openapi(routes.readyz, (c) => {
    const reasons = control.unreadiness()
    return reasons.length === 0 ? c.text('ready\n', 200) : c.text(reasons.map((reason) => `not ready: ${reason}\n`).join(''), 503)
  })
}

function addResources(app: App, control: Control): void {
  app.openapi(routes.status, (c) => c.json(control.status(), 200))
  app.openapi(routes.configuration, (c) => c.json(control.configuration(), 200))
  app.openapi(routes.listeners, (c) => c.json(control.listeners(), 200))
  app.openapi(routes.upstreams, (c) => c.json(control.upstreams(), 200))
  app.openapi(routes.events, (c) => {
    const { door, outgoing } = c.env
    if (c.req.method === 'HEAD') return c.body(null, 200, { 'content-type': 'text/event-stream' })
    const id = c.req.header('last-event-id') ?? ''
    if (door.followers.add(outgoing, /^\d{1,15}$/.test(id) ? Number(id) : null)) return RESPONSE_ALREADY_SENT
    return refuse(c, { code: 'unavailable', message: 'expected fewer followers of the events: received one too many' })
  })
}

function addCache(app: App, control: Control): void {
  app.openapi(routes.cache, (c) => c.json(control.cacheStatistics(), 200))
  app.openapi(routes.cacheEntries, (c) => {
    const { name } = c.req.valid('query')
    const known = control.lookUp(name)
    return known === null ? refuse(c, noDomainName(name)) : c.json(known, 200)
  })
  app.openapi(routes.purge, async (c) => {
    const { name, suffix } = c.req.valid('query')
    const outcome = await control.purge(purgeTarget(name, suffix))
    return outcome === null ? refuse(c, noDomainName(name ?? suffix)) : c.json(outcome, 200)
  })
}

function addActions(app: App, control: Control): void {
  const enable = async (c: Context<Environment>, name: string, enabled: boolean) => {
    const upstream = await control.enableUpstream(name, enabled)
    if (upstream !== null) return c.json(upstream, 200)
    const names = control.upstreams().map((each) => each.name)
    return refuse(c, { code: 'not_found', message: `expected one of ${names.join(', ')}: received ${show(name)}` })
  }
  app.openapi(routes.enableUpstream, (c) => enable(c, c.req.valid('param').name, true))
  app.openapi(routes.disableUpstream, (c) => enable(c, c.req.valid('param').name, false))
  app.openapi(routes.reload, async (c) => {
    const outcome = await control.reload({ dryRun: c.req.valid('query').dryRun === 'true' })
    switch (outcome.outcome) {
      case 'busy':
        return c.json(outcome, 409)
      case 'refused':
      case 'rolled-back':
        return c.json(outcome, 422)
      default:
        return c.json(outcome, 200)
    }
  })
  app.openapi(routes.drain, (c) => {
    // when the answer is on its way: draining ends this connection too
    c.env.outgoing.once('close', () => control.drain())
    return c.json({ draining: true as const }, 202)
  })
}

function addCertificates(app: App, control: Control): void {
  app.openapi(routes.certificates, (c) => c.json(control.certificates(), 200))
  app.openapi(routes.renewCertificate, async (c) => {
    const { name } = c.req.valid('query')
    const renewal = await control.renewCertificate(name)
    switch (renewal.outcome) {
      case 'renewed':
        return c.json(renewal.certificate, 200)
      case 'running':
        return c.json(renewal.certificate, 202)
      case 'unknown':
        return refuse(c, { code: 'not_found', message: `expected ${namesOf(control)}: received ${show(name)}` })
      case 'busy':
        return refuse(c, { code: 'conflict', message: renewal.message })
      case 'failed':
        return refuse(c, { code: 'unprocessable', message: renewal.message })
    }
  })
  app.openapi(routes.rollOverAccount, async (c) => {
    const { name } = c.req.valid('query')
    const change = await control.rollOverAccount(name)
    switch (change.outcome) {
      case 'done':
        return c.json({ done: true as const }, 200)
      case 'unknown':
        return refuse(c, { code: 'not_found', message: `expected ${namesOf(control)}: received ${show(name)}` })
      case 'busy':
        return refuse(c, { code: 'conflict', message: change.message })
      case 'failed':
        return refuse(c, { code: 'unprocessable', message: change.message })
    }
  })
}

function namesOf(control: Control): string {
  const names = control.certificates().map(({ name }) => name)
  return names.length === 0 ? 'no certificate, for none is needed' : `one of ${names.join(', ')}`
}

function addDocument(app: App): void {
  app.openAPIRegistry.registerComponent('securitySchemes', 'token', {
    type: 'http',
    scheme: 'bearer',
    description: 'Over TCP only; the socket state/admin.sock asks for nothing.',
  })
  app.openapi(routes.document, (c) => {
    const info = { title: 'Atlas DNS Gateway', version: VERSION, description: 'The admin interface, as docs/api.md explains it.' }
    const document = app.getOpenAPI31Document({ openapi: '3.1.0', info, security: [{ token: [] }, {}] })
    return c.json(document as unknown as Record<string, unknown>, 200)
  })
}

/** RFC 9110 §15.5.6: what a path has no route for is 405, with those that it has. */
function addOtherMethods(app: App): void {
  for (const path of pathsOf(app)) {
    const methods = routesOf(app).flatMap((route) => (route.path === path ? [route.method.toUpperCase()] : []))
    const allow = methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', ')
    app.all(path.replaceAll(/{(\w+)}/g, ':$1'), (c) =>
      refuse(c, { code: 'method_not_allowed', message: `expected ${allow}: received ${c.req.method}`, headers: { allow } }),
    )
  }
}

function routesOf(app: App) {
  return app.openAPIRegistry.definitions.flatMap((definition) => (definition.type === 'route' ? [definition.route] : []))
}

function pathsOf(app: App): string[] {
  return [...new Set(routesOf(app).map((route) => route.path))]
}

function purgeTarget(name: string | undefined, suffix: string | undefined): PurgeTarget {
  if (name !== undefined) return { kind: 'name', name }
  return suffix === undefined ? { kind: 'all' } : { kind: 'suffix', name: suffix }
}

function noDomainName(name: string | undefined): Refusal<'bad_request'> {
  return { code: 'bad_request', message: `expected a domain name: received ${show(name)}` }
}

interface Issue {
  readonly message: string
  readonly path: readonly PropertyKey[]
  /** Those that are unknown. */
  readonly keys?: readonly string[]
}

/** The first of them: there are few parameters. */
function wrongParameter([issue]: readonly Issue[], c: Context): Refusal<'bad_request'> {
  const values = { ...c.req.queries(), ...c.req.param() }
  const [key = ''] = issue?.path.map(String) ?? []
  const received = key === '' ? (issue?.keys ?? Object.keys(values)) : [values[key] ?? []].flat()
  return { code: 'bad_request', message: `${issue?.message}: received ${received.length > 1 ? 'several' : show(received[0])}` }
}
