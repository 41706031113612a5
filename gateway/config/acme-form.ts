import * as z from 'zod'
import { type Endpoint, formatEndpoint, parseAddress, parseEndpoint } from '../../net/address.ts'
import { parseAcmeDirectory, parseAcmeName, parseHostName, parseResolver, socketKey } from './addresses.ts'
import { ACME_CHALLENGES, KEY_KINDS, TSIG_ALGORITHMS } from './config.ts'
import { choice, distinct, duration, filePath, settings, text, word } from './fields.ts'
import { ACME_DNS_TIMEOUT_MS, MAX_ACME_ENTRIES, MAX_ACME_NAMES } from './knobs.ts'

/** One entry of `tls.acme`. */
export type AcmeForm = z.output<typeof entry>

const LETS_ENCRYPT = 'https://acme-v02.api.letsencrypt.org/directory'

const endpoints = z
  .array(text('expected "host:port" with an IP address', { parse: parseEndpoint }), { error: 'expected a list of "host:port"' })
  .min(1, { error: 'expected at least one "host:port"' })
  .superRefine(
    distinct('expected each address only once', {
      path: [],
      keyOf: (endpoint: Endpoint) => socketKey(endpoint) ?? formatEndpoint(endpoint),
    }),
  )

const DNS_FORM = 'expected one of hook, update and responder'

const dns = settings({
  hook: z
    .array(word('expected text', /^[^\0]+$/), { error: 'expected a list: the program, then its arguments' })
    .min(1, { error: 'expected at least the program' })
    .optional()
    .describe('program, with its arguments, that makes and removes the record (docs/certificates.md)'),
  update: text('expected an IP address, or "ip:port"', { parse: parseResolver })
    .optional()
    .describe('server that takes dynamic updates (RFC 2136): IP address, or "ip:port"'),
  tsig: settings({
    name: text('expected a domain name', { parse: parseHostName }).describe('name of the key, as the server knows it'),
    algorithm: choice(TSIG_ALGORITHMS).prefault('hmac-sha256').describe('its algorithm (RFC 8945 §6)'),
    secretFile: filePath('a file').describe('file with the secret, in base64'),
  })
    .optional()
    .describe('with update: key that signs the updates (RFC 8945)'),
  responder: endpoints.optional().describe('addresses on which the gateway itself answers for the zone: "host:port"'),
  zone: text('expected a domain name', { parse: parseHostName })
    .optional()
    .describe(
      'with responder: zone that is delegated to the gateway; with update: that of the records, by default the server is asked for it',
    ),
  timeout: duration(ACME_DNS_TIMEOUT_MS, 'how long a record may take to be made, and to be seen'),
  servers: z
    .array(text('expected an IP address, or "ip:port"', { parse: parseResolver }), { error: 'expected a list of IP addresses' })
    .prefault([])
    .describe('with hook and update: servers that must show the record before the CA is told; by default those of the zone'),
}).superRefine(checkDns)

const entry = settings({
  directory: text('expected an https:// URL, "letsencrypt" or "letsencrypt-staging"', { parse: parseAcmeDirectory })
    .prefault(LETS_ENCRYPT)
    .describe('the CA: URL of its directory, letsencrypt or letsencrypt-staging; whoever names one agrees to its terms of service'),
  email: word('expected an e-mail address', /^[^\s@,;<>"()]+@[^\s@,;<>"()]+$/)
    .optional()
    .describe('where the CA reaches the operator'),
  names: z
    .array(text('expected a host name, "*." and a host name, or an IP address', { parse: parseAcmeName }), {
      error: 'expected a list of host names and IP addresses',
    })
    .min(1, { error: 'expected at least one name' })
    .max(MAX_ACME_NAMES, { error: `expected at most ${MAX_ACME_NAMES} names` })
    .superRefine(distinct('expected each name only once', { path: ['names'], keyOf: (name: string) => name }))
    .describe('names of the certificate: host names, with dns-01 also "*.example.net", and IP addresses where the CA has them'),
  challenge: choice(ACME_CHALLENGES)
    .prefault('tls-alpn-01')
    .describe('how the CA is shown that the names are ours: tls-alpn-01 (port 443), http-01 (port 80) or dns-01'),
  http: endpoints
    .prefault(['0.0.0.0:80', '[::]:80'])
    .describe('http-01: addresses that answer the CA, "host:port"; nothing else is served there'),
  dns: dns.optional().describe('dns-01: how the record is made: hook, update or responder'),
  ca: filePath('a PEM file').optional().describe('PEM file with the roots to trust the CA’s own server by, besides the usual ones'),
  eab: settings({
    keyId: word('expected text without spaces', /^[\x21-\x7e]+$/).describe('key identifier that the CA has given out'),
    keyFile: filePath('a file').describe('file with the HMAC key, in base64url'),
  })
    .optional()
    .describe('external account binding (RFC 8555 §7.3.4)'),
  profile: word('expected a word', /^[\w.-]{1,64}$/)
    .optional()
    .describe('profile of the certificate, such as shortlived, where the CA has several'),
  preferredChain: word('expected text', /^[^\0]+$/)
    .optional()
    .describe('common name of the root to which the chain should lead, where the CA offers several'),
  keys: z
    .array(choice(KEY_KINDS), { error: 'expected a list of "ecdsa" and "rsa"' })
    .min(1, { error: 'expected at least one' })
    .superRefine(distinct('expected each only once', { path: ['keys'], keyOf: (kind: string) => kind }))
    .prefault(['ecdsa'])
    .describe('ecdsa (P-256), or rsa (2,048 bits) besides, for clients of TLS 1.2 that know nothing else: a certificate of each'),
}).superRefine(checkEntry)

/** A map, or a list of them: a certificate each. */
export const acme = z
  .union(
    [
      entry.transform((one): readonly AcmeForm[] => [one]),
      z
        .array(entry)
        .max(MAX_ACME_ENTRIES, { error: `expected at most ${MAX_ACME_ENTRIES} certificates` })
        .superRefine(
          distinct('expected another first name for each certificate', {
            path: ['tls', 'acme'],
            keyOf: ({ names }: AcmeForm) => names[0] ?? '',
          }),
        ),
    ],
    { error: 'expected a map, or a list of maps, of names, directory, email, challenge …' },
  )
  .prefault([])

type DnsForm = z.output<typeof dns>

function checkDns(form: DnsForm, context: z.core.$RefinementCtx): void {
  const issue = (path: readonly string[], message: string): void => context.addIssue({ code: 'custom', path: [...path], message })
  const kinds = (['hook', 'update', 'responder'] as const).filter((key) => form[key] !== undefined)
  if (kinds.length !== 1) issue(kinds.slice(1, 2), DNS_FORM)
  if (form.tsig !== undefined && form.update === undefined) issue(['tsig'], 'expected only beside update')
  if (form.zone !== undefined && form.hook !== undefined) issue(['zone'], 'expected only beside update and responder')
  if (form.zone === undefined && form.responder !== undefined) issue(['zone'], 'expected the zone that is delegated to the gateway')
  if (form.servers.length > 0 && form.responder !== undefined) issue(['servers'], 'expected only beside hook and update')
}

interface Checked {
  readonly names: readonly string[]
  readonly challenge: (typeof ACME_CHALLENGES)[number]
  readonly dns?: unknown
}

/** What goes together, and what does not. */
function checkEntry({ names, challenge, dns }: Checked, context: z.core.$RefinementCtx): void {
  const issue = (path: readonly (string | number)[], message: string): void =>
    context.addIssue({ code: 'custom', path: [...path], message })
  if (challenge === 'dns-01' && dns === undefined) issue(['dns'], 'expected with challenge: dns-01: hook, update or responder')
  if (challenge !== 'dns-01' && dns !== undefined) issue(['dns'], 'expected only beside challenge: dns-01')
  for (const [i, name] of names.entries()) {
    // RFC 8738 §7; CA/Browser Forum Baseline Requirements §3.2.2.4: wildcards by DNS only
    if (challenge === 'dns-01' && parseAddress(name) !== null)
      issue(['names', i], 'expected a host name: addresses cannot be shown by dns-01')
    if (challenge !== 'dns-01' && name.startsWith('*.')) issue(['names', i], 'expected no wildcard without challenge: dns-01')
  }
}
