import { OperationalError } from '../../dns/operational-error.ts'

/** sun_path of unix(7) without the octet that ends it; BSD and macOS have four less. */
const MAX_OCTETS = process.platform === 'linux' ? 107 : 103

/** Throws OperationalError where the path is longer than the system's addresses can be: cut off, it would name another socket. */
export function checkSocketPath(path: string): void {
  const octets = Buffer.byteLength(path)
  if (octets <= MAX_OCTETS) return
  const reason = `expected at most ${MAX_OCTETS} octets, as the path of a Unix socket: received ${octets}; a state directory with a shorter path helps`
  throw new OperationalError('ATLAS_STATE', `Cannot use the admin socket ${path}: ${reason}`)
}
