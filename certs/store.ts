import { createSecureContext, type SecureContext } from 'node:tls'
import { isDeepStrictEqual } from 'node:util'
import { OperationalError } from '../dns/operational-error.ts'
import { formatAddress, parseAddress } from '../net/address.ts'
import type { QuicIdentity } from '../net/quic.ts'
import type { ClientCa, ServerIdentities, ServerTls, ServerTlsOptions } from '../net/tls.ts'
import { type Identity, namesFor } from './identity.ts'
import { StapleTable } from './ocsp/staple-table.ts'
import type { Staple } from './ocsp/stapled.ts'

export interface IdentityStoreOptions {
  readonly policy: ServerTlsOptions
  /** Names that are ours although no certificate may hold them (`public.name`). */
  readonly extraNames: readonly string[]
}

/**
 * The identities in use. The first is the default; where two with the same kind of key hold the same name, the earlier one serves it.
 * Of different kinds all do, and each client is shown one that it can verify.
 */
export class IdentityStore implements ServerIdentities {
  #options: IdentityStoreOptions
  #extraNames: ReadonlySet<string>
  #served: Served
  /** Made from `#served`. */
  #demanding = new WeakMap<ClientCa, ServerTls>()
  #staples = new StapleTable([])

  /** Throws OperationalError when `identities` is empty. */
  constructor(identities: readonly Identity[], options: IdentityStoreOptions) {
    this.#options = options
    this.#extraNames = new Set(options.extraNames.map(hostName))
    this.#served = this.#serve(identities, options.policy)
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

  contextFor(serverName: string | undefined, sharedSigalgs: () => readonly string[]): SecureContext | undefined {
    return contextOf(this.#served, serverName, sharedSigalgs)
  }

  demanding(clientCa: ClientCa): ServerTls {
    const known = this.#demanding.get(clientCa)
    if (known !== undefined) return known
    const served = this.#serve(this.#served.identities, demandingPolicy(this.#options.policy, clientCa))
    const { options, isSingle } = served
    const made: ServerTls = { options, isSingle, contextFor: (serverName, sharedSigalgs) => contextOf(served, serverName, sharedSigalgs) }
    this.#demanding.set(clientCa, made)
    return made
  }

  get hasStaples(): boolean {
    return !this.#staples.isEmpty
  }

  stapleFor(certificate: Uint8Array): Buffer | null {
    return this.#staples.of(certificate)
  }

  covers(host: string): boolean {
    const { choices, addresses } = this.#served
    const name = hostName(host)
    if (this.#extraNames.has(name) || find(choices, name) !== undefined) return true
    const address = parseAddress(name)
    return address !== null && addresses.has(formatAddress(address))
  }

  /** Replaces all staples, for new handshakes. Those of certificates that are not in use do no harm. */
  staple(staples: readonly Staple[]): void {
    const hadStaples = this.hasStaples
    this.#staples = new StapleTable(staples)
    if (this.hasStaples === hadStaples) return
    this.#served = this.#serve(this.#served.identities, this.#options.policy)
    this.#demanding = new WeakMap()
  }

  /** For new handshakes; open sessions keep the contexts they have. Throws as the constructor does, and changes nothing then. */
  replace(identities: readonly Identity[], options: IdentityStoreOptions = this.#options): void {
    const before = this.#served
    if (isDeepStrictEqual([identities, options], [before.identities, this.#options])) return
    this.#served = this.#serve(identities, options.policy)
    this.#options = options
    this.#extraNames = new Set(options.extraNames.map(hostName))
    this.#demanding = new WeakMap()
  }

  #serve(identities: readonly Identity[], policy: ServerTlsOptions): Served {
    return serve(identities, { policy, isStapled: this.hasStaples })
  }
}

/** Everything that changes together. */
interface Served {
  readonly identities: readonly Identity[]
  readonly first: Identity
  readonly options: ServerTlsOptions
  /** By name; none to choose from: those of `options` serve it, and TLS chooses. */
  readonly choices: ReadonlyMap<string, readonly Choice[]>
  readonly isSingle: boolean
  readonly addresses: ReadonlySet<string>
}

/** Of a context that is chosen for a name, Node takes one certificate only, so each has its own. */
interface Choice {
  readonly keyType: string
  readonly context: SecureContext
}

function serve(identities: readonly Identity[], { policy, isStapled }: { policy: ServerTlsOptions; isStapled: boolean }): Served {
  const [first] = identities
  if (first === undefined) throw new OperationalError('ATLAS_CERTIFICATE', 'Cannot serve TLS: there is no certificate')
  const byDefault = oneOfEachKind(identities, (identity) => isFor(identity, first))
  const made = new Map<Identity, Choice>()
  const choiceOf = (identity: Identity): Choice => {
    const known = made.get(identity)
    if (known !== undefined) return known
    const choice = { keyType: identity.keyType, context: createSecureContext(withPolicy([identity], policy)) }
    made.set(identity, choice)
    return choice
  }
  const choices = new Map<string, readonly Choice[]>()
  for (const name of new Set(identities.flatMap(({ names }) => names))) {
    const own = oneOfEachKind(identities, ({ names }) => names.includes(name))
    // of a context with several certificates, Node asks for the staple of one and the same, whichever TLS is going to show
    const isAmbiguous = isStapled && own.length > 1
    choices.set(name, isDeepStrictEqual(own, byDefault) && !isAmbiguous ? [] : own.map(choiceOf))
  }
  const addresses = new Set(identities.flatMap((identity) => identity.addresses))
  return { identities, first, options: withPolicy(byDefault.toSorted(ecdsaLast), policy), choices, isSingle: made.size === 0, addresses }
}

/** Whose staple Node asks for is the last one: of those who send no name, nearly all are shown ECDSA. */
function ecdsaLast(one: Identity, other: Identity): number {
  return Number(one.keyType === 'ec') - Number(other.keyType === 'ec')
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

function contextOf(
  { choices: byName }: Served,
  serverName: string | undefined,
  sharedSigalgs: () => readonly string[],
): SecureContext | undefined {
  const choices = serverName === undefined ? undefined : find(byName, hostName(serverName))
  if (choices === undefined || choices.length < 2) return choices?.[0]?.context
  return choose(choices, sharedSigalgs()).context
}

/** Chains and keys belong together by the kind of their keys, in whatever order. */
function withPolicy(identities: readonly Identity[], policy: ServerTlsOptions): ServerTlsOptions {
  return Object.freeze({ ...policy, cert: identities.map(({ chainPem }) => chainPem), key: identities.map(({ keyPem }) => keyPem) })
}

/** What Node calls the kinds of key that sign by these (RFC 8446 §4.2.3). */
const KEY_TYPES: Readonly<Record<string, string>> = { ECDSA: 'ec', 'RSA-PSS': 'rsa', RSA: 'rsa', Ed25519: 'ed25519', Ed448: 'ed448' }

/** The one that the best of `sigalgs` ("ECDSA+SHA256") is for; without any the first, and TLS ends the handshake. */
function choose(choices: readonly Choice[], sigalgs: readonly string[]): Choice {
  for (const sigalg of sigalgs) {
    const keyType = KEY_TYPES[sigalg.split('+', 1)[0] ?? '']
    const choice = choices.find((each) => each.keyType === keyType)
    if (choice !== undefined) return choice
  }
  return choices[0] as Choice
}

function find<T>(byName: ReadonlyMap<string, T>, host: string): T | undefined {
  for (const name of namesFor(host)) {
    const found = byName.get(name)
    if (found !== undefined) return found
  }
  return undefined
}

/** The one text of a server name (RFC 6066 §3 has it without the dot, but some clients send one). */
export function hostName(text: string): string {
  const name = text.toLowerCase()
  return name.endsWith('.') ? name.slice(0, -1) : name
}
