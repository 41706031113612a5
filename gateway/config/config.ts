import type { Endpoint, Prefix } from '../../net/address.ts'
import type { UpstreamUrl } from './addresses.ts'

/**
 * The configuration as the gateway uses it: complete, parsed and deep-frozen. Every default is already in it, so no code
 * below config/ asks whether something was set. The operator's form is described by schema.ts.
 */
export interface Config {
  readonly listen: {
    readonly doh: readonly ListenConfig[]
    readonly dot: readonly ListenConfig[]
    readonly doq: readonly ListenConfig[]
    readonly dns: readonly ListenConfig[]
    /** Null when the operator switched it off (`admin: false`). */
    readonly admin: AdminConfig | null
  }
  /** How clients reach the gateway, where that differs from the listeners: certificate names, URLs to paste, HTTP authorities. */
  readonly public: {
    readonly name: string | null
    readonly addresses: readonly string[]
    readonly ports: { readonly doh: number | null; readonly dot: number | null; readonly doq: number | null }
  }
  readonly access: {
    readonly dns: readonly Prefix[]
    readonly encrypted: readonly Prefix[]
    /** Who uses DNS over HTTPS, TLS and QUIC needs a token of this file besides: its absolute path; null: nobody needs one. */
    readonly tokenFile: string | null
  }
  readonly doh: {
    readonly paths: readonly string[]
    readonly http3: boolean
    readonly json: boolean
    readonly landing: boolean
    /** The origin of all other paths, such as http://127.0.0.1:8080; null: there is none. */
    readonly proxy: string | null
    /** Whose X-Forwarded-For and Forwarded count. */
    readonly trustedProxies: readonly Prefix[]
  }
  readonly tls: {
    readonly certificates: readonly CertificateConfig[]
    readonly acme: readonly AcmeConfig[]
    readonly minVersion: 'TLSv1.2' | 'TLSv1.3'
    /** Keys of session tickets that other gateways have too: the absolute path of their file; null: the gateway makes its own. */
    readonly ticketKeyFile: string | null
  }
  /** Absolute path of the state directory. */
  readonly state: string
  /** Null: the resolvers of /etc/resolv.conf. */
  readonly upstreams: readonly UpstreamConfig[] | null
  readonly routes: readonly RouteConfig[]
  readonly strategy: StrategyName
  /** Resolvers for the host names of upstreams; null: those of /etc/resolv.conf. */
  readonly bootstrap: readonly Endpoint[] | null
  readonly timeouts: { readonly queryMs: number; readonly handshakeMs: number; readonly drainMs: number }
  readonly cache: {
    /** Octets; 0: nothing is kept. */
    readonly memory: number
    /** How long after its TTL an answer may be given; 0: never. */
    readonly serveStaleMs: number
    readonly prefetch: boolean
    readonly persist: boolean
  }
  readonly edns: { readonly padding: boolean; readonly cookies: boolean; readonly clientSubnet: 'off' | 'forward' | 'add' }
  readonly limits: {
    /** Of all clients together. */
    readonly connections: number
    readonly connectionsPerClient: number
    /** TLS handshakes of one client; 0 for any number. */
    readonly handshakesPerSecond: number
    /** Queries of one client that wait for upstreams. */
    readonly inFlightPerClient: number
    readonly inFlightPerConnection: number
    /** Of one client; 0 for as many as it likes. */
    readonly queriesPerSecond: number
    /** For whom queriesPerSecond and handshakesPerSecond do not hold. */
    readonly exempt: readonly Prefix[]
    /** Answers over UDP to clients that have not shown that they are there: see LimitTerms. */
    readonly udp: { readonly perSecond: number; readonly slip: number; readonly exempt: readonly Prefix[] }
    /** Octets of the process beyond which nobody new is let in and the heaviest clients go. */
    readonly memory: number
    readonly idle: { readonly streamMs: number; readonly httpMs: number; readonly quicMs: number }
  }
  /** Threads that serve. */
  readonly workers: number
  readonly log: { readonly level: LogLevel; readonly queries: QueryLogConfig }
}

export interface ListenConfig {
  readonly endpoint: Endpoint
  /** Null: `access.dns` or `access.encrypted`, as the transport is. */
  readonly access: readonly Prefix[] | null
  /** Without TLS, behind a proxy that has it; of DoH only. */
  readonly cleartext: boolean
  /** Load balancers that say by the PROXY protocol for whom they speak, and have to; null: clients come by themselves. */
  readonly proxyProtocol: readonly Prefix[] | null
  /** Roots that certificates of clients have to lead to: the absolute path of a PEM file, and where the operator wrote it; null: none is asked for. Of DoH and DoT only. */
  readonly clientCa: { readonly file: string; readonly origin: string } | null
  /** A default of ours, not a wish of the operator: left out on a machine that has no such address family. */
  readonly byDefault: boolean
}

/** The listener for scrapers and probes, and with a token for everything else. */
export interface AdminConfig {
  readonly endpoint: Endpoint
  /** Absolute path of the file with the bearer token; null: without authentication, and without what needs it. */
  readonly tokenFile: string | null
  /** Names by which clients may call it, besides addresses, localhost and `public.name`. */
  readonly hosts: readonly string[]
}

/** Absolute paths of PEM files. */
export interface PemConfig {
  readonly cert: string
  readonly key: string
  /** Where the operator wrote it, "file:line:column", for errors about the files' content. */
  readonly origin: string
}

/** Absolute paths of a PKCS #12 container with chain and key, and of the file with its password; null: it has none. */
export interface Pkcs12Config {
  readonly pfx: string
  readonly passwordFile: string | null
  readonly origin: string
}

export type CertificateConfig = PemConfig | Pkcs12Config

export const ACME_CHALLENGES = ['tls-alpn-01', 'http-01', 'dns-01'] as const
export const KEY_KINDS = ['ecdsa', 'rsa'] as const
export const TSIG_ALGORITHMS = ['hmac-sha256', 'hmac-sha384', 'hmac-sha512'] as const

/** A certificate that a CA gives out by ACME (RFC 8555), one for each kind of key. */
export interface AcmeConfig {
  /** URL. */
  readonly directory: string
  readonly email: string | null
  /** Host names, wildcards and canonical addresses; the first names the certificate. */
  readonly names: readonly string[]
  readonly challenge: (typeof ACME_CHALLENGES)[number]
  /** Listeners of http-01. */
  readonly http: readonly Endpoint[]
  /** Not null with dns-01. */
  readonly dns: AcmeDnsConfig | null
  /** Roots to trust the CA's server by, besides the usual ones. */
  readonly ca: { readonly file: string; readonly origin: string } | null
  /** External account binding. */
  readonly eab: { readonly keyId: string; readonly keyFile: string; readonly origin: string } | null
  readonly profile: string | null
  /** Common name of a root. */
  readonly preferredChain: string | null
  readonly keys: readonly (typeof KEY_KINDS)[number][]
  /** Where the operator wrote it, "file:line:column". */
  readonly origin: string
}

/** How the TXT record of dns-01 is made. `servers` must show it before the CA is told; none: those of the zone. */
export type AcmeDnsConfig =
  | { readonly kind: 'hook'; readonly command: readonly string[]; readonly timeoutMs: number; readonly servers: readonly Endpoint[] }
  | {
      readonly kind: 'update'
      readonly server: Endpoint
      /** Null: the server is asked for it. */
      readonly zone: string | null
      readonly tsig: TsigConfig | null
      readonly timeoutMs: number
      readonly servers: readonly Endpoint[]
    }
  | { readonly kind: 'responder'; readonly listen: readonly Endpoint[]; readonly zone: string }

export interface TsigConfig {
  readonly name: string
  readonly algorithm: (typeof TSIG_ALGORITHMS)[number]
  /** Absolute path. */
  readonly secretFile: string
  readonly origin: string
}

/** Names at and below `suffix`, in wire form and lower case, are asked of these upstreams, in this order. */
export interface RouteConfig {
  readonly suffix: Uint8Array
  readonly upstreams: readonly string[]
}

/** One server, and the ways to ask it. */
export interface UpstreamConfig {
  readonly name: string
  /** Best first: the next one is for when those before do not work. */
  readonly urls: readonly UpstreamUrl[]
  /** The name in the server's certificate; null: the host of the URL. */
  readonly serverName: string | null
  /** Roots to trust in place of the usual ones: the absolute path of a PEM file, and where the operator wrote it. */
  readonly ca: { readonly file: string; readonly origin: string } | null
  /** Base64 of the SHA-256 of acceptable public keys; empty for any. */
  readonly pins: readonly string[]
  /** What we show a server that wants to know who asks. */
  readonly clientCertificate: PemConfig | null
  readonly weight: number
  /** Of all workers together. */
  readonly connections: number
  readonly pipelining: number
  readonly maxAgeMs: number
  readonly idleMs: number
  /** The address of this machine that asks; null: as the system chooses. */
  readonly source: string | null
  /** A SOCKS5 proxy in between; null: none. */
  readonly socks: Endpoint | null
  /** Over UDP: names are sent in random case (0x20). */
  readonly randomizeCase: boolean
  /** Where the operator wrote it, for the error about an upstream that is ourselves. */
  readonly origin: string
}

export const STRATEGIES = ['ordered', 'round-robin', 'weighted', 'fastest', 'race', 'hash'] as const
export type StrategyName = (typeof STRATEGIES)[number]

export type LogLevel = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace'

/** Share of queries that get a log line: all of them 1, none 0; or only those that were answered with an error. */
export type QueryLogConfig = { readonly kind: 'share'; readonly share: number } | { readonly kind: 'errors' }
