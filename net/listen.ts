import type { AddressInfo, Server } from 'node:net'
import { OperationalError, reasonOf } from '../dns/operational-error.ts'
import { type Endpoint, formatEndpoint } from './address.ts'

/** Binds a stream server; `name` is the operator's word for the listener ("dot"). Resolves with the true port, rejects with ATLAS_LISTEN. */
export async function bindServer(server: Server, { name, endpoint }: { name: string; endpoint: Endpoint }): Promise<Endpoint> {
  await new Promise<void>((resolve, reject) => {
    const onError = (error: Error): void => reject(listenError(name, endpoint, error))
    server.once('error', onError)
    server.listen({ host: endpoint.host, port: endpoint.port, ipv6Only: true }, () => {
      server.off('error', onError)
      resolve()
    })
  })
  return { host: endpoint.host, port: (server.address() as AddressInfo).port }
}

/** Resolves when the server's last connection has ended. */
export async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return
  await new Promise<void>((resolve) => {
    server.close(() => resolve())
  })
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the address is in use by another process',
  EACCES: 'a port below 1024 needs root or the capability CAP_NET_BIND_SERVICE',
  EADDRNOTAVAIL: 'this machine does not have the address',
}

export function listenError(name: string, endpoint: Endpoint, error: unknown): OperationalError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return new OperationalError(
    'ATLAS_LISTEN',
    `Cannot listen for ${name} on ${formatEndpoint(endpoint)}: ${REASONS[code] ?? reasonOf(error)}`,
    error,
  )
}
