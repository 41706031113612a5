import { createSecureContext, type SecureContext } from 'node:tls'
import { isDeepStrictEqual } from 'node:util'
import { OperationalError } from '../dns/operational-error.ts'
import { formatAddress, parseAddress } from '../net/address.ts'
import type { QuicIdentity } from '../net/quic.ts'
import type { ServerIdentities, ServerTlsOptions } from '../net/tls.ts'
import type { Identity } from './identity.ts'
import { StapleTable } from './ocsp/staple-table.ts'
import type { Staple } from './ocsp/stapled.ts'

export interface IdentityStoreOptions {
  readonly policy: ServerTlsOptions
  /** Names that are ours although no certificate may hold them (`public.name`). */
  readonly extraNames: readonly string[]
}

/**
 * The identities in use. The first is the default; where two hold the same name, the earlier one serves it.
 */
export class IdentityStore implements ServerIdentities {
  #options: IdentityStoreOptions
  #extraNames: ReadonlySet<string>
  #served: Served
  #staples = new StapleTable([])

  /** Throws OperationalError when `identities` is empty. */
  constructor(identities: readonly Identity[], options: IdentityStoreOptions) {
    this.#options = options
    this.#extraNames = new Set(options.extraNames.map(hostName))
    this.#served = serve(identities, options.policy)
  }

  /** The same object until the identities are replaced. */
  get options(): ServerTlsOptions {
    return this.#served.options
  }

  get isSingle(): boolean {
    return this.#served.identities.length === 1
  }

  get fallback(): QuicIdentity {
    return this.#served.first
  }

  contextFor(serverName: string | undefined): SecureContext {
    const { contexts, fallback } = this.#served
    return serverName === undefined ? fallback : (find(contexts, hostName(serverName)) ?? fallback)
  }

  get hasStaples(): boolean {
    return !this.#staples.isEmpty
  }

  stapleFor(certificate: Uint8Array): Buffer | null {
    return this.#staples.of(certificate)
  }

  covers(host: string): boolean {
    const { contexts, addresses } = this.#served
    const name = hostName(host)
    if (this.#extraNames.has(name) || find(contexts, name) !== undefined) return true
    const address = parseAddress(name)
    return address !== null && addresses.has(formatAddress(address))
  }

  /** Replaces all staples, for new handshakes. Those of certificates that are not in use do no harm. */
  staple(staples: readonly Staple[]): void {
    const hadStaples = this.hasStaples
    this.#staples = new StapleTable(staples)
    if (this.hasStaples !== hadStaples) this.#served = { ...this.#served, options: Object.freeze({ ...this.#served.options }) }
  }

  /** For new handshakes; open sessions keep the contexts they have. Throws as the constructor does, and changes nothing then. */
  replace(identities: readonly Identity[], options: IdentityStoreOptions = this.#options): void {
    const before = this.#served
    if (isDeepStrictEqual([identities, options], [before.identities, this.#options])) return
    this.#served = serve(identities, options.policy)
    this.#options = options
    this.#extraNames = new Set(options.extraNames.map(hostName))
  }
}

/** Everything that changes together. */
interface Served {
  readonly identities: readonly Identity[]
  readonly first: Identity
  readonly options: ServerTlsOptions
  readonly fallback: SecureContext
  readonly contexts: ReadonlyMap<string, SecureContext>
  readonly addresses: ReadonlySet<string>
}

function serve(identities: readonly Identity[], policy: ServerTlsOptions): Served {
  const [first] = identities
  if (first === undefined) throw new OperationalError('ATLAS_CERTIFICATE', 'Cannot serve TLS: there is no certificate')
  const contexts = new Map<string, SecureContext>()
  for (const identity of identities) {
    const context = createSecureContext(withPolicy(identity, policy))
    for (const name of identity.names) if (!contexts.has(name)) contexts.set(name, context)
  }
  const options = withPolicy(first, policy)
  const addresses = new Set(identities.flatMap((identity) => identity.addresses))
  return { identities, first, options, fallback: createSecureContext(options), contexts, addresses }
}

function withPolicy(identity: Identity, policy: ServerTlsOptions): ServerTlsOptions {
  return Object.freeze({ ...policy, cert: identity.chainPem, key: identity.keyPem })
}

/** RFC 9525 §6.3: a wildcard stands for exactly one label, the whole left-most one. */
function find(contexts: ReadonlyMap<string, SecureContext>, name: string): SecureContext | undefined {
  const dot = name.indexOf('.')
  return contexts.get(name) ?? (dot > 0 ? contexts.get(`*${name.slice(dot)}`) : undefined)
}

function hostName(text: string): string {
  const name = text.toLowerCase()
  return name.endsWith('.') ? name.slice(0, -1) : name
}
