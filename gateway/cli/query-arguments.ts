import { domainToASCII } from 'node:url'
import { OUR_UDP_SIZE } from '../../dns/edns.ts'
import { type Knob, knob } from '../../dns/knob.ts'
import { OperationalError } from '../../dns/operational-error.ts'
import type { EdnsChoice } from '../../dns/query-writer.ts'
import { parseClass, parseNameText, parseType } from '../../dns/text.ts'
import { Class, Type } from '../../dns/types.ts'
import { DEFAULT_SERVER, type Protocol, parseServer, type Server } from './query-server.ts'

/** The options of the command as commander hands them over. */
export interface QueryOptions {
  readonly ca?: string
  readonly insecure?: true
  readonly serverName?: string
  readonly get?: true
  readonly ignoreTc?: true
  readonly short?: true
  readonly json?: true
  readonly timeout?: string
  readonly dnssec?: true
  readonly cd?: true
  readonly rd: boolean
  readonly edns: boolean
  readonly bufsize?: string
  readonly padding?: boolean
  readonly id?: string
}

/** What the command line asks for, complete. */
export interface QueryRequest {
  readonly server: Server
  /** Wire form. */
  readonly name: Uint8Array
  readonly type: number
  readonly class: number
  /** Null: none was given. */
  readonly id: number | null
  readonly recursionDesired: boolean
  readonly checkingDisabled: boolean
  readonly edns: EdnsChoice | null
  readonly timeoutMs: number
  readonly trust: Trust
  /** RFC 8484 §4.1: by GET instead of POST. */
  readonly get: boolean
  /** Whether a truncated answer is the answer. */
  readonly ignoreTruncation: boolean
  readonly output: 'text' | 'short' | 'json'
}

/** How the server proves who it is. */
export interface Trust {
  /** PEM file that replaces the system's roots; null: the system's. */
  readonly caFile: string | null
  readonly insecure: boolean
  /** The name that the certificate must cover. */
  readonly serverName: string
}

/** 5 s is what dig and kdig wait. */
const TIMEOUT_MS: Knob = knob(5_000, 1, 600_000)
/** RFC 6891 §6.2.3; small values are allowed because servers must cope with them. */
const UDP_SIZE: Knob = knob(OUR_UDP_SIZE, 0, 65_535)
const ID: Knob = knob(0, 0, 65_535)

const ENCRYPTED: readonly Protocol[] = ['tls', 'https', 'quic', 'h3']

/** Options that mean something to these protocols only; elsewhere they would promise what does not happen. */
const PROTOCOLS_OF: Readonly<Partial<Record<keyof QueryOptions, readonly Protocol[]>>> = {
  ca: ENCRYPTED,
  insecure: ENCRYPTED,
  serverName: ENCRYPTED,
  get: ['https', 'h3'],
  ignoreTc: ['udp'],
}

/** Reads the words and options of the command line. Throws ATLAS_USAGE when they make no query. */
export function parseQuery(words: readonly string[], options: QueryOptions): QueryRequest {
  const { server, name, type, class: klass } = sortWords(words)
  refuseContradictions(server.protocol, options)
  return {
    server,
    name: name === null ? Uint8Array.of(0) : parseName(name),
    // dig: without anything to ask for, the root's name servers
    type: type ?? (name === null ? Type.NS : Type.A),
    class: klass ?? Class.IN,
    id: options.id === undefined ? null : parseNumber('--id', options.id, ID),
    recursionDesired: options.rd,
    checkingDisabled: options.cd ?? false,
    edns: options.edns ? ednsChoice(server.protocol, options) : null,
    timeoutMs: options.timeout === undefined ? TIMEOUT_MS.default : parseTimeout(options.timeout),
    trust: { caFile: options.ca ?? null, insecure: options.insecure ?? false, serverName: options.serverName ?? server.host },
    get: options.get ?? false,
    ignoreTruncation: options.ignoreTc ?? false,
    output: options.json ? 'json' : options.short ? 'short' : 'text',
  }
}

function ednsChoice(protocol: Protocol, options: QueryOptions): EdnsChoice {
  return {
    udpSize: options.bufsize === undefined ? UDP_SIZE.default : parseNumber('--bufsize', options.bufsize, UDP_SIZE),
    dnssecOk: options.dnssec ?? false,
    // RFC 7830 §6: padding serves encryption only
    padding: options.padding ?? ENCRYPTED.includes(protocol),
  }
}

interface Words {
  readonly server: Server
  readonly name: string | null
  readonly type: number | null
  readonly class: number | null
}

/** Tells the words apart by what they look like, in any order. */
function sortWords(words: readonly string[]): Words {
  let server: Server | null = null
  let name: string | null = null
  let type: number | null = null
  let klass: number | null = null
  for (const word of words) {
    const asType = parseType(word)
    const asClass = parseClass(word)
    if (word.startsWith('@')) {
      if (server !== null) throw wrong('two servers', word)
      server = parseServer(word.slice(1))
    } else if (asType !== null && type === null) {
      type = asType
    } else if (asClass !== null && klass === null) {
      klass = asClass
    } else if (asType !== null || asClass !== null) {
      throw wrong('two types or two classes; a name that looks like one needs a trailing dot', word)
    } else if (/^(?:TYPE|CLASS)\d+$/i.test(word)) {
      throw wrong('types and classes are at most 65535', word)
    } else {
      if (name !== null) throw wrong(`neither a type nor a class, and there is a name already (${name})`, word)
      name = word
    }
  }
  return { server: server ?? DEFAULT_SERVER, name, type, class: klass }
}

function refuseContradictions(protocol: Protocol, options: QueryOptions): void {
  for (const [option, protocols] of Object.entries(PROTOCOLS_OF)) {
    if (options[option as keyof QueryOptions] === undefined || protocols.includes(protocol)) continue
    throw wrong(`--${kebab(option)} has a meaning with ${protocols.join(', ')} only`, protocol)
  }
  if (!options.edns && (options.dnssec || options.padding || options.bufsize !== undefined)) {
    throw wrong('--dnssec, --padding and --bufsize are part of EDNS', '--no-edns')
  }
  if (options.short && options.json) throw wrong('one of --short and --json', 'both')
  if (options.insecure && options.ca !== undefined) throw wrong('one of --insecure and --ca', 'both')
}

/** A name may come with characters beyond ASCII; those have a form in A-labels (RFC 5890 §2.3.2.1). */
function parseName(text: string): Uint8Array {
  const name = parseNameText(/[^ -~]/.test(text) ? domainToASCII(text) : text)
  if (name === null) throw wrong('no domain name', text)
  return name
}

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000 }

function parseTimeout(text: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,7})(ms|s|m)$/.exec(text) ?? []
  const milliseconds = digits === '' ? Number.NaN : Number(digits) * (UNITS_MS[unit] ?? Number.NaN)
  if (!(milliseconds >= TIMEOUT_MS.min && milliseconds <= TIMEOUT_MS.max))
    throw wrong('--timeout is a duration up to 10m, such as 500ms or 5s', text)
  return milliseconds
}

function parseNumber(option: string, text: string, { min, max }: Knob): number {
  const value = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= min && value <= max)) throw wrong(`${option} is a number between ${min} and ${max}`, text)
  return value
}

function kebab(option: string): string {
  return option.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

function wrong(reason: string, received: string): OperationalError {
  return new OperationalError('ATLAS_USAGE', `Cannot tell the query: ${reason}: received ${received}`)
}
