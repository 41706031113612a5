import { randomBytes } from 'node:crypto'
import { createServer, type Server } from 'node:tls'
import type { SessionTickets } from '../../net/tls.ts'
import { TICKET_KEY_NAME_LENGTH } from './key.ts'

/**
 * The keys that session tickets are made and read with (RFC 5077 §4), while they change. OpenSSL makes the tickets; Node's documented
 * `setTicketKeys` lets it know one key only, so every change would end all sessions. The callback for several keys is an old part of
 * Node without documentation ([ADR 30](../../docs/adr/0030-session-ticket-keys.md)).
 */
export class TicketKeyring implements SessionTickets {
  #keys: readonly TicketKey[]
  /** Those that have to be told of a change, where Node has no callback. */
  readonly #told = new Set<WeakRef<Server>>()

  /** Hexadecimal, at least one: the first makes tickets, all of them are accepted. */
  constructor(keys: readonly string[]) {
    this.#keys = keys.map(parse)
  }

  /** For the tickets from now on; open sessions have no need of them. */
  replace(keys: readonly string[]): void {
    this.#keys = keys.map(parse)
    for (const reference of this.#told) {
      const server = reference.deref()
      if (server === undefined) this.#told.delete(reference)
      else server.setTicketKeys(this.#newest.octets)
    }
  }

  protect(server: Server): void {
    // contexts that SNI chooses need nothing: OpenSSL asks the first one, both to make and to read
    const context = nativeContext(server)
    if (context === null) {
      server.setTicketKeys(this.#newest.octets)
      this.#told.add(new WeakRef(server))
      return
    }
    context.onticketkeycallback = (name, _iv, isNew) => (isNew ? this.#make() : this.#read(name))
    context.enableTicketKeyCallback()
  }

  get #newest(): TicketKey {
    return this.#keys[0] as TicketKey
  }

  #make(): TicketKeyReply {
    const { name, hmac, aes } = this.#newest
    return [KNOWN, hmac, aes, name, randomBytes(IV_LENGTH)]
  }

  /** A name that nobody has given, or that is forgotten, leads to a full handshake. */
  #read(name: Buffer): TicketKeyReply {
    for (const key of this.#keys) if (key.name.equals(name)) return key.known
    const { hmac, aes } = this.#newest
    return [UNKNOWN, hmac, aes]
  }
}

/** Whether sessions outlive a change of keys on this Node. */
export function acceptsFormerTicketKeys(): boolean {
  return nativeContext(createServer()) !== null
}

interface TicketKey {
  readonly octets: Buffer
  readonly name: Buffer
  readonly hmac: Buffer
  readonly aes: Buffer
  readonly known: TicketKeyReply
}

/** Whether the key is known, HMAC key, AES key; of a new ticket also the key's name and the initialization vector. Node wants both keys always. */
type TicketKeyReply = readonly [verdict: number, hmac: Buffer, aes: Buffer, name?: Buffer, iv?: Buffer]

/**
 * Not RENEW (2): a ticket is not exchanged for another one on use, so what a certificate has proved ends with the ticket
 * (RFC 8446 §4.6.1 recommends a limit). Each full handshake gives two, for clients that use each once (RFC 8446 appendix C.4).
 */
const [UNKNOWN, KNOWN] = [0, 1]
const IV_LENGTH = 16

function parse(text: string): TicketKey {
  const octets = Buffer.from(text, 'hex')
  const [name, hmac, aes] = [0, 1, 2].map((i) => octets.subarray(i * TICKET_KEY_NAME_LENGTH, (i + 1) * TICKET_KEY_NAME_LENGTH))
  if (name === undefined || hmac === undefined || aes === undefined) throw new RangeError('Cannot use a ticket key: it is too short')
  return { octets, name, hmac, aes, known: [KNOWN, hmac, aes] }
}

/** What Node keeps behind a SecureContext. The callback must not throw: it runs in the middle of a handshake. */
interface NativeContext {
  onticketkeycallback: (name: Buffer, iv: Buffer, isNew: boolean) => TicketKeyReply
  enableTicketKeyCallback(): void
}

/** Null where this Node has no such callback. */
function nativeContext(server: Server): NativeContext | null {
  const { _sharedCreds: shared } = server as { _sharedCreds?: { context?: Partial<NativeContext> } }
  const context = shared?.context
  return typeof context?.enableTicketKeyCallback === 'function' ? (context as NativeContext) : null
}
