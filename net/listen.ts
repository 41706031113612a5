import type { Socket as DatagramSocket } from 'node:dgram'
import type { AddressInfo, Server } from 'node:net'
import { OperationalError, reasonOf } from '../dns/operational-error.ts'
import { type Endpoint, formatEndpoint } from './address.ts'

export interface BindOptions {
  /** The operator's word for the listener ("dot"). */
  readonly name: string
  readonly endpoint: Endpoint
  /** SO_REUSEPORT: several threads bind the same address, and the kernel spreads the clients over them. */
  readonly reusePort?: boolean
}

/** Binds a stream server. Resolves with the true port, rejects with ATLAS_LISTEN. */
export async function bindServer(server: Server, { name, endpoint, reusePort = false }: BindOptions): Promise<Endpoint> {
  const { host, port } = endpoint
  await new Promise<void>((resolve, reject) => {
    const onError = (error: Error): void => reject(listenError(name, endpoint, error))
    server.once('error', onError)
    server.listen({ host, port, ipv6Only: true, reusePort }, () => {
      server.off('error', onError)
      resolve()
    })
  })
  return { host, port: (server.address() as AddressInfo).port }
}

/** Binds a datagram socket, which has to be made with the same `reusePort`. Resolves with the true port; rejects with ATLAS_LISTEN, and the socket is closed. */
export async function bindDatagrams(socket: DatagramSocket, { name, endpoint }: Omit<BindOptions, 'reusePort'>): Promise<Endpoint> {
  await new Promise<void>((resolve, reject) => {
    const onError = (error: Error): void => {
      socket.close()
      reject(listenError(name, endpoint, error))
    }
    socket.once('error', onError)
    socket.bind({ address: endpoint.host, port: endpoint.port, exclusive: true }, () => {
      socket.off('error', onError)
      resolve()
    })
  })
  return { host: endpoint.host, port: socket.address().port }
}

/** Resolves when the server's last connection has ended. */
export async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return
  await new Promise<void>((resolve) => {
    server.close(() => resolve())
  })
}

export async function closeDatagrams(socket: DatagramSocket): Promise<void> {
  await new Promise<void>((resolve) => {
    socket.close(() => resolve())
  })
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the address is in use by another process',
  EACCES: 'a port below 1024 needs root or the capability CAP_NET_BIND_SERVICE',
  EADDRNOTAVAIL: 'this machine does not have the address',
}

export function listenError(name: string, endpoint: Endpoint, error: unknown): OperationalError {
  return new OperationalError(
    'ATLAS_LISTEN',
    `Cannot listen for ${name} on ${formatEndpoint(endpoint)}: ${REASONS[systemCode(error)] ?? reasonOf(error)}`,
    error,
  )
}

/** Whether `error` says that somebody else has the address: who that was may be gone in a moment. */
export function isAddressInUse(error: unknown): boolean {
  return error instanceof OperationalError && systemCode(error.cause) === 'EADDRINUSE'
}

/** EINVAL and ENODEV: of a link-local address, whose interface is gone. */
const MISSING: ReadonlySet<string> = new Set(['EADDRNOTAVAIL', 'EINVAL', 'ENODEV'])

/** Whether `error` says that this machine does not have the address, or not yet: IPv6 first makes sure that nobody else has it (RFC 4862 §5.4). */
export function isAddressMissing(error: unknown): boolean {
  return error instanceof OperationalError && MISSING.has(systemCode(error.cause))
}

function systemCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
