import { createSocket } from 'node:dgram'
import type { LookupAddress } from 'node:dns'
import { addressesOf, type Exchange, untilAborted } from './exchange.ts'
import { mismatch } from './message.ts'
import type { Reply } from './session.ts'

/** Asks over UDP. What does not answer the query is ignored, since anyone may have sent it (RFC 5452 §9.1). */
export async function askOverUdp(exchange: Exchange): Promise<Reply> {
  const { signal } = exchange
  const addresses = await addressesOf(exchange)
  const failures: unknown[] = []
  for (const address of addresses) {
    try {
      return { message: await askAddress(exchange, address), session: null }
    } catch (error) {
      signal.throwIfAborted()
      // refused, most likely: "localhost" has two addresses, and many a server listens on one of them
      failures.push(error)
    }
  }
  throw failures[0]
}

async function askAddress({ server, query, signal }: Exchange, { address, family }: LookupAddress): Promise<Uint8Array> {
  const socket = createSocket(family === 6 ? 'udp6' : 'udp4')
  try {
    return await untilAborted(signal, ({ resolve, reject }) => {
      socket.on('error', reject)
      socket.on('message', (message) => {
        if (mismatch(query, message) === null) resolve(message)
      })
      // connected, so that the kernel drops what others send and tells when nobody listens
      socket.connect(server.port, address, () => socket.send(query))
    })
  } finally {
    socket.close()
  }
}
