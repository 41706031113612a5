import { lstatSync, type Stats, unlinkSync } from 'node:fs'
import type { Server } from 'node:net'
import { OperationalError, reasonOf } from '../../dns/operational-error.ts'
import { checkSocketPath } from './socket-path.ts'

const OWNER_ONLY = 0o177

/**
 * Binds `server` to a Unix socket that its owner alone can connect to. A socket that a crash left behind is removed: the caller
 * holds the lock of the directory, so nobody listens there. Throws OperationalError ATLAS_STATE.
 */
export async function bindSocket(server: Server, path: string): Promise<void> {
  checkSocketPath(path)
  try {
    removeLeftover(path)
    await listen(server, path)
  } catch (error) {
    throw new OperationalError('ATLAS_STATE', `Cannot open the admin socket ${path}: ${reasonOf(error)}`, error)
  }
}

function removeLeftover(path: string): void {
  const stat: Stats | undefined = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return
  if (!stat.isSocket()) throw new Error('expected a socket or nothing there: received something else')
  unlinkSync(path)
}

async function listen(server: Server, path: string): Promise<void> {
  const bound = new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.once('listening', () => {
      server.off('error', reject)
      resolve()
    })
  })
  // bind() happens within listen(), so the socket has its mode from the moment it exists
  const before = process.umask(OWNER_ONLY)
  try {
    server.listen({ path })
  } finally {
    process.umask(before)
  }
  await bound
}
