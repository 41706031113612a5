import { createSecureContext, type SecureContext } from 'node:tls'
import { isDeepStrictEqual } from 'node:util'
import { OperationalError } from '../dns/operational-error.ts'
import { formatAddress, parseAddress } from '../net/address.ts'
import type { QuicIdentity } from '../net/quic.ts'
import type { ClientCa, ServerIdentities, ServerTls, ServerTlsOptions } from '../net/tls.ts'
import { type Identity, namesFor } from './identity.ts'

export interface IdentityStoreOptions {
  readonly policy: ServerTlsOptions
  /** Names that are ours although no certificate may hold them (`public.name`). */
  readonly extraNames: readonly string[]
}

/**
 * The identities in use. The first is the default; where two with the same kind of key hold the same name, the earlier one serves it.
 * Of different kinds all do: TLS gives each client what it can verify, ECDSA where it can choose.
 */
export class IdentityStore implements ServerIdentities {
  #options: IdentityStoreOptions
  #extraNames: ReadonlySet<string>
  #served: Served
  /** Made from `#served`. */
  #demanding = new WeakMap<ClientCa, ServerTls>()

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
    return this.#served.isSingle
  }

  get fallback(): QuicIdentity {
    return this.#served.first
  }

  contextFor(serverName: string | undefined): SecureContext {
    return contextOf(this.#served, serverName)
  }

  demanding(clientCa: ClientCa): ServerTls {
    const known = this.#demanding.get(clientCa)
    if (known !== undefined) return known
    const served = serve(this.#served.identities, demandingPolicy(this.#options.policy, clientCa))
    const { isSingle } = this
    const made = { options: served.options, isSingle, contextFor: (serverName: string | undefined) => contextOf(served, serverName) }
    this.#demanding.set(clientCa, made)
    return made
  }

  covers(host: string): boolean {
    const { contexts, addresses } = this.#served
    const name = hostName(host)
    if (this.#extraNames.has(name) || find(contexts, name) !== undefined) return true
    const address = parseAddress(name)
    return address !== null && addresses.has(formatAddress(address))
  }

  /** For new handshakes; open sessions keep the contexts they have. Throws as the constructor does, and changes nothing then. */
  replace(identities: readonly Identity[], options: IdentityStoreOptions = this.#options): void {
    const before = this.#served
    if (isDeepStrictEqual([identities, options], [before.identities, this.#options])) return
    this.#served = serve(identities, options.policy)
    this.#options = options
    this.#extraNames = new Set(options.extraNames.map(hostName))
    this.#demanding = new WeakMap()
  }
}

/** Everything that changes together. */
interface Served {
  readonly identities: readonly Identity[]
  readonly first: Identity
  readonly options: ServerTlsOptions
  readonly fallback: SecureContext
  readonly contexts: ReadonlyMap<string, SecureContext>
  readonly isSingle: boolean
  readonly addresses: ReadonlySet<string>
}

function serve(identities: readonly Identity[], policy: ServerTlsOptions): Served {
  const [first] = identities
  if (first === undefined) throw new OperationalError('ATLAS_CERTIFICATE', 'Cannot serve TLS: there is no certificate')
  const byDefault = oneOfEachKind(identities, (identity) => isFor(identity, first))
  const options = withPolicy(byDefault, policy)
  const fallback = createSecureContext(options)
  const made = new Map([[keyOf(byDefault), fallback]])
  const contexts = new Map<string, SecureContext>()
  for (const name of new Set(identities.flatMap(({ names }) => names))) {
    const own = oneOfEachKind(identities, ({ names }) => names.includes(name))
    const context = made.get(keyOf(own)) ?? createSecureContext(withPolicy(own, policy))
    made.set(keyOf(own), context)
    contexts.set(name, context)
  }
  const addresses = new Set(identities.flatMap((identity) => identity.addresses))
  return { identities, first, options, fallback, contexts, isSingle: made.size === 1, addresses }
}

/** Of those that fit the first of each kind of key, in their order. */
function oneOfEachKind(identities: readonly Identity[], fits: (identity: Identity) => boolean): readonly Identity[] {
  const kinds = new Map<string, Identity>()
  for (const identity of identities) if (fits(identity) && !kinds.has(identity.keyType)) kinds.set(identity.keyType, identity)
  return [...kinds.values()]
}

/** Whether it is for everything that `other` is for. */
function isFor(identity: Identity, other: Identity): boolean {
  const own = new Set([...identity.names, ...identity.addresses])
  return [...other.names, ...other.addresses].every((name) => own.has(name))
}

/**
 * A session says who the client is without another certificate (RFC 8446 §4.6.1): with a context of its own it is resumed nowhere but
 * where the same roots are asked for. The context of an identity decides on the roots too, so each has them.
 */
function demandingPolicy(policy: ServerTlsOptions, { id, roots }: ClientCa): ServerTlsOptions {
  return { ...policy, requestCert: true, rejectUnauthorized: true, ca: [...roots], sessionIdContext: id }
}

function contextOf({ contexts, fallback }: Served, serverName: string | undefined): SecureContext {
  return serverName === undefined ? fallback : (find(contexts, hostName(serverName)) ?? fallback)
}

function keyOf(identities: readonly Identity[]): string {
  return identities.map(({ fingerprint256 }) => fingerprint256).join()
}

/** Chains and keys belong together by the kind of their keys, in whatever order. */
function withPolicy(identities: readonly Identity[], policy: ServerTlsOptions): ServerTlsOptions {
  return Object.freeze({ ...policy, cert: identities.map(({ chainPem }) => chainPem), key: identities.map(({ keyPem }) => keyPem) })
}

function find(contexts: ReadonlyMap<string, SecureContext>, host: string): SecureContext | undefined {
  for (const name of namesFor(host)) {
    const context = contexts.get(name)
    if (context !== undefined) return context
  }
  return undefined
}

/** The one text of a server name (RFC 6066 §3 has it without the dot, but some clients send one). */
export function hostName(text: string): string {
  const name = text.toLowerCase()
  return name.endsWith('.') ? name.slice(0, -1) : name
}
