import * as z from 'zod'
import { type Endpoint, formatEndpoint, PrefixSet, parseAddress, parseEndpoint } from '../../net/address.ts'
import { parseAccess, parseHostName, socketKey } from './addresses.ts'
import { filePath, settings, text, toggle } from './fields.ts'

const endpoint = text('expected "host:port" with an IP address', { parse: parseEndpoint })

/** Who may come: words, CIDRs, addresses. */
export const access = z.array(
  text('expected "loopback", "private", "any", an IP address or a CIDR without host bits', { parse: parseAccess }),
  {
    error: 'expected a list of "loopback", "private", "any", IP addresses and CIDRs',
  },
)

const listenerParts = {
  address: endpoint.describe('"host:port" with an IP address'),
  access: access.optional().describe('who may connect here, in place of the general list: words, CIDRs, addresses'),
}
const proxiedParts = {
  ...listenerParts,
  proxyProtocol: access
    .min(1, { error: 'expected at least one of "loopback", "private", "any", IP addresses and CIDRs' })
    .optional()
    .describe('load balancers that send the PROXY protocol, and have to: words, CIDRs, addresses; without it, nobody may'),
}

const encryptedParts = {
  ...proxiedParts,
  clientCa: filePath('a PEM file')
    .optional()
    .describe('PEM file of CAs: only clients are served that show a certificate of one of them; without it, none is asked for'),
}

type AccessForm = z.output<typeof access>

interface ListenerForm {
  readonly address: Endpoint
  readonly access?: AccessForm | undefined
  readonly proxyProtocol?: AccessForm | undefined
  readonly clientCa?: string | undefined
  readonly cleartext?: boolean
}

function listenersOf(map: z.ZodType<ListenerForm>, keys: string) {
  const one = z.union([endpoint.transform((address): ListenerForm => ({ address })), map], {
    error: `expected "host:port" with an IP address, or a map of ${keys}`,
  })
  return z.array(one, { error: 'expected a list of "host:port"' })
}

const quicListeners = listenersOf(
  settings({
    ...listenerParts,
    clientCa: z
      .never({ error: 'expected it on doh or dot only: over QUIC clients cannot be asked for a certificate' })
      .optional()
      .describe('not here: over QUIC clients cannot be asked for a certificate'),
  }),
  'address and access',
)
const plainListeners = listenersOf(settings(proxiedParts), 'address, access and proxyProtocol')
const dotListeners = listenersOf(settings(encryptedParts), 'address, access, proxyProtocol and clientCa')
const dohListeners = listenersOf(
  settings({
    ...encryptedParts,
    cleartext: toggle(false, 'whether it is HTTP/1.1 and HTTP/2 without TLS, for a proxy in front that has it'),
  }).superRefine(({ cleartext, clientCa }, context) => {
    if (!cleartext || clientCa === undefined) return
    const message = 'expected no cleartext beside it: without TLS clients cannot be asked for a certificate'
    context.addIssue({ code: 'custom', path: ['clientCa'], message })
  }),
  'address, access, proxyProtocol, clientCa and cleartext',
)

const ADMIN_FORM = 'expected "host:port" with an IP address, a map of address, hosts and tokenFile, or false'

const admin = settings({
  address: endpoint.describe('"host:port" with an IP address'),
  hosts: z
    .array(text('expected a host name', { parse: parseHostName }), { error: 'expected a list of host names' })
    .prefault([])
    .describe('host names by which clients call it; addresses, localhost and public.name are known'),
  tokenFile: filePath('a file')
    .optional()
    .describe('file with the bearer token that opens everything else; without it, state/admin.sock does'),
})

export const listen = settings({
  doh: dohListeners
    .prefault(['127.0.0.1:8443', '[::1]:8443'])
    .describe('DNS over HTTPS, TCP and UDP (HTTP/3): "host:port" or { address, access, … }; port 0: the kernel picks; []: off'),
  dot: dotListeners
    .prefault(['127.0.0.1:8853', '[::1]:8853'])
    .describe('DNS over TLS: "host:port" or { address, access, … }; port 0: the kernel picks; []: off'),
  doq: quicListeners
    .prefault(['127.0.0.1:8853', '[::1]:8853'])
    .describe('DNS over QUIC: "host:port" or { address, access }; port 0: the kernel picks; []: off'),
  dns: plainListeners
    .prefault(['127.0.0.1:8053', '[::1]:8053'])
    .describe('plain DNS over UDP and TCP: "host:port" or { address, access }; port 0: the kernel picks; []: off'),
  admin: z
    .union(
      [
        text(ADMIN_FORM, { parse: parseEndpoint }).transform((address) => ({ address, hosts: [], tokenFile: undefined })),
        admin,
        z.literal(false),
      ],
      {
        error: ADMIN_FORM,
      },
    )
    .prefault('127.0.0.1:9353')
    .describe('GET /metrics /healthz /readyz: "host:port" or { address, hosts, tokenFile }; false: off'),
}).superRefine(checkListeners)

interface ListenForm {
  readonly doh: readonly { readonly address: Endpoint }[]
  readonly dot: readonly { readonly address: Endpoint }[]
  readonly doq: readonly { readonly address: Endpoint }[]
  readonly dns: readonly { readonly address: Endpoint }[]
  readonly admin: { readonly address: Endpoint } | false
}

/** RFC 9250 §4.1.1: DNS over QUIC must not use it. */
const PLAIN_DNS_PORT = 53

/** Which sockets a listener has. DoH counts for both, so that HTTP/3 can be switched on. */
const SOCKETS = { doh: ['tcp', 'udp'], dot: ['tcp'], doq: ['udp'], dns: ['tcp', 'udp'], admin: ['tcp'] } as const

/** An address and port is of one listener only, on TCP and on UDP. */
function checkListeners({ admin, ...lists }: ListenForm, context: z.core.$RefinementCtx<ListenForm>): void {
  if (Object.values(lists).every((list) => list.length === 0)) {
    const params = { received: 'empty lists' }
    context.addIssue({ code: 'custom', message: 'expected at least one address in doh, dot, doq or dns', params })
  }
  const taken = new Map<string, (string | number)[]>()
  const check = (kind: keyof typeof SOCKETS, address: Endpoint, path: (string | number)[]): void => {
    const key = socketKey(address)
    if (key === null) return
    const sockets = SOCKETS[kind].map((protocol) => `${protocol} ${key}`)
    const other = sockets.map((socket) => taken.get(socket)).find((each) => each !== undefined)
    for (const socket of sockets) if (!taken.has(socket)) taken.set(socket, path)
    if (other === undefined) return
    const params = { received: JSON.stringify(formatEndpoint(address)), clashesWith: ['listen', ...other] }
    context.addIssue({ code: 'custom', path, message: 'expected an address and port of its own', params })
  }
  for (const kind of ['doh', 'dot', 'doq', 'dns'] as const) {
    for (const [i, { address }] of lists[kind].entries()) check(kind, address, [kind, i])
  }
  if (admin !== false) check('admin', admin.address, ['admin'])
  for (const [i, { address }] of lists.doq.entries()) {
    if (address.port !== PLAIN_DNS_PORT) continue
    const params = { received: JSON.stringify(formatEndpoint(address)) }
    context.addIssue({ code: 'custom', path: ['doq', i], message: 'expected another port than 53 for DNS over QUIC', params })
  }
}

interface CleartextForm {
  readonly listen: { readonly doh: readonly ListenerForm[] }
  readonly doh: { readonly trustedProxies: readonly unknown[] }
}

/** A refinement of the whole form. RFC 8484 §5: without TLS only behind a proxy that is known, or on this machine (conformance DOH-25). */
export function checkCleartext({ listen, doh }: CleartextForm, context: z.core.$RefinementCtx): void {
  if (doh.trustedProxies.length > 0) return
  const loopback = new PrefixSet(parseAccess('loopback') ?? [])
  for (const [i, { address, cleartext }] of listen.doh.entries()) {
    const bytes = parseAddress(address.host)
    if (!cleartext || (bytes !== null && loopback.has(bytes))) continue
    const message = 'expected a loopback address, or the proxies that have TLS in doh.trustedProxies'
    context.addIssue({ code: 'custom', path: ['listen', 'doh', i], message, params: { received: JSON.stringify(formatEndpoint(address)) } })
  }
}
