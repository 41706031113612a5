import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { checkServerIdentity, getCACertificates } from 'node:tls'
import type { TlsChoice } from '../client/exchange.ts'
import type { QuicTrust } from '../client/quic.ts'
import type { Trust } from './query-arguments.ts'

/** How TLS is to verify the server. Fails when the CA file cannot be read. */
export async function tlsChoice({ caFile, insecure, serverName }: Trust): Promise<TlsChoice> {
  return {
    ...(caFile === null ? {} : { ca: await readRoots(caFile) }),
    // RFC 6066 §3: an address is never sent as a server name
    ...(isIP(serverName) === 0 ? { servername: serverName } : {}),
    rejectUnauthorized: !insecure,
    checkServerIdentity: (_host, certificate) => checkServerIdentity(serverName, certificate),
  }
}

/** The same for QUIC. Fails where the library could not verify the server. */
export async function quicTrust({ caFile, insecure, serverName }: Trust): Promise<QuicTrust> {
  if (insecure) return { serverName, roots: null }
  if (isIP(serverName) !== 0)
    throw new Error('the QUIC library cannot verify addresses: name the server with --server-name, or use --insecure')
  // the set that TLS takes without an option
  return { serverName, roots: caFile === null ? getCACertificates('default').join('\n') : await readRoots(caFile) }
}

async function readRoots(file: string): Promise<string> {
  const pem = await readFile(file, 'utf8')
  // TLS takes a file without a certificate for an empty list, and then blames the server for an unknown issuer
  if (!/-----BEGIN [A-Z0-9 ]*CERTIFICATE-----/.test(pem)) throw new Error(`--ca: no PEM certificate in ${file}`)
  return pem
}
