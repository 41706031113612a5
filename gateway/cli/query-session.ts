import type { Session } from '../client/session.ts'

/** Lines in kdig's form, with what it does not say behind them. `verifiedName` is null when nothing was verified. */
export function sessionText({ tls, http, quic, handshakeMs }: Session, where: { url: URL | null; verifiedName: string | null }): string {
  const secrets = [tls.version.replace('TLSv', 'TLS'), tls.group, tls.cipher].filter((part) => part !== null)
  const facts = [
    ...(tls.alpn === '' ? [] : [`ALPN: ${tls.alpn}`]),
    ...(tls.resumed === null ? [] : [`resumed: ${tls.resumed ? 'yes' : 'no'}`]),
    `handshake: ${handshakeMs.toFixed(1)} ms`,
    where.verifiedName === null ? 'certificate: not verified' : `certificate: verified for ${where.verifiedName}`,
  ]
  const lines = [`${quic ? 'QUIC' : 'TLS'} session ${secrets.map((part) => `(${part})`).join('-')}`, facts.join('; ')]
  if (http !== null && where.url !== null)
    lines.push(`HTTP session (HTTP/${http.version}-${http.method})-(${where.url.host}${where.url.pathname})-(status: ${http.status})`)
  return lines.map((line) => `;; ${line}\n`).join('')
}

/** Members of JSON for the same; what is not known is missing. */
export function sessionJson({ tls, http, handshakeMs }: Session, verifiedName: string | null): object {
  const known = Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== null && value !== ''))
  return {
    handshakeMilliseconds: tenths(handshakeMs),
    tls: { ...known, verifiedName },
    ...(http === null ? {} : { http }),
  }
}

export function tenths(milliseconds: number): number {
  return Math.round(milliseconds * 10) / 10
}
