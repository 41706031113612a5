import { once } from 'node:events'
import { type ConnectionOptions, connect } from 'node:tls'

export interface Handshake {
  readonly isReused: boolean
  /** To come back with: the first that the server has given, or the one that it has accepted. */
  readonly session: Buffer
}

/** Makes a connection, with a session of before or without, and ends it. */
export async function handshake(options: ConnectionOptions): Promise<Handshake> {
  const socket = connect({ host: '127.0.0.1', ...options })
  const given = once(socket, 'session') as Promise<[Buffer]>
  try {
    await once(socket, 'secureConnect')
    if (socket.isSessionReused()) return { isReused: true, session: options.session as Buffer }
    return { isReused: false, session: (await given)[0] }
  } finally {
    given.catch(() => {})
    socket.destroy()
  }
}
