/**
 * Names of numbers of the IANA "Domain Name System (DNS) Parameters" registries, both ways. A number without a name is written
 * with the registry's prefix ("TYPE65280", RFC 3597 §5), which is read back whether or not there is a name.
 */
export interface Mnemonics {
  text(value: number): string
  /** Letters without case. Null when it is neither a name nor the prefix and a number in range. */
  parse(text: string): number | null
}

export const { text: typeText, parse: parseType } = mnemonics('TYPE', {
  1: 'A, NS, MD, MF, CNAME, SOA, MB, MG, MR, NULL, WKS, PTR, HINFO, MINFO, MX, TXT',
  17: 'RP, AFSDB, X25, ISDN, RT, NSAP, NSAP-PTR, SIG, KEY, PX, GPOS, AAAA, LOC, NXT, EID, NIMLOC',
  33: 'SRV, ATMA, NAPTR, KX, CERT, A6, DNAME, SINK, OPT, APL, DS, SSHFP, IPSECKEY, RRSIG, NSEC, DNSKEY',
  49: 'DHCID, NSEC3, NSEC3PARAM, TLSA, SMIMEA',
  55: 'HIP, NINFO, RKEY, TALINK, CDS, CDNSKEY, OPENPGPKEY, CSYNC, ZONEMD, SVCB, HTTPS, DSYNC, HHIT, BRID',
  99: 'SPF, UINFO, UID, GID, UNSPEC, NID, L32, L64, LP, EUI48, EUI64',
  128: 'NXNAME',
  249: 'TKEY, TSIG, IXFR, AXFR, MAILB, MAILA, ANY, URI, CAA, AVC, DOA, AMTRELAY, RESINFO, WALLET, CLA, IPN',
  32768: 'TA, DLV',
})

export const { text: classText, parse: parseClass } = mnemonics('CLASS', { 1: 'IN', 3: 'CH, HS', 254: 'NONE, ANY' })

export const { text: opcodeText, parse: parseOpcode } = mnemonics('OPCODE', { 0: 'QUERY, IQUERY, STATUS', 4: 'NOTIFY, UPDATE, DSO' })

/** Extended ones (RFC 6891 §6.1.3) included. 16 is BADVERS here; as the error of a TSIG record it would be BADSIG. */
export const { text: rcodeText, parse: parseRcode } = mnemonics('RCODE', {
  0: 'NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, YXDOMAIN, YXRRSET, NXRRSET, NOTAUTH, NOTZONE, DSOTYPENI',
  16: 'BADVERS, BADKEY, BADTIME, BADMODE, BADNAME, BADALG, BADTRUNC, BADCOOKIE',
})

export const { text: optionText, parse: parseOption } = mnemonics('OPT', {
  1: 'LLQ, UL, NSID',
  5: 'DAU, DHU, N3U, CLIENT-SUBNET, EXPIRE, COOKIE, TCP-KEEPALIVE, PADDING, CHAIN, KEY-TAG, EDE',
  16: 'CLIENT-TAG, SERVER-TAG, REPORT-CHANNEL, ZONEVERSION',
})

/** RFC 8914 §4 and its registry. */
export const { text: edeText, parse: parseEde } = mnemonics('EDE', {
  0: 'Other, Unsupported DNSKEY Algorithm, Unsupported DS Digest Type, Stale Answer, Forged Answer, DNSSEC Indeterminate',
  6: 'DNSSEC Bogus, Signature Expired, Signature Not Yet Valid, DNSKEY Missing, RRSIGs Missing, No Zone Key Bit Set',
  12: 'NSEC Missing, Cached Error, Not Ready, Blocked, Censored, Filtered, Prohibited, Stale NXDOMAIN Answer',
  20: 'Not Authoritative, Not Supported, No Reachable Authority, Network Error, Invalid Data',
  25: 'Signature Expired before Valid, Too Early, Unsupported NSEC3 Iterations Value, Unable to conform to policy',
  29: 'Synthesized, Invalid Query Type',
})

/** All of these registries count in 16 bits, or less. */
const MAX_VALUE = 0xffff

/** `runs`: names of consecutive numbers under the first of them. */
function mnemonics(prefix: string, runs: Readonly<Record<number, string>>): Mnemonics {
  const names = new Map<number, string>()
  for (const [first, run] of Object.entries(runs)) {
    for (const [i, name] of run.split(', ').entries()) names.set(Number(first) + i, name)
  }
  const numbers = new Map(Array.from(names, ([value, name]) => [name.toUpperCase(), value]))
  return Object.freeze({
    text: (value: number) => names.get(value) ?? `${prefix}${value}`,
    parse: (text: string) => numbers.get(text.toUpperCase()) ?? numbered(prefix, text),
  })
}

function numbered(prefix: string, text: string): number | null {
  const digits = text.slice(prefix.length)
  if (text.slice(0, prefix.length).toUpperCase() !== prefix || !/^\d{1,5}$/.test(digits)) return null
  const value = Number(digits)
  return value > MAX_VALUE ? null : value
}
