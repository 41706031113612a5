import * as net from 'node:net'
import * as tls from 'node:tls'
import { copyOf, putU16 } from '../../dns/bytes.ts'
import { Deframer, PREFIX_LENGTH } from '../../net/framing.ts'
import { type Exchange, isHangUp, RefusedError, type TlsChoice, untilAborted } from './exchange.ts'
import { mismatch } from './message.ts'
import { afterHandshake, type Reply, type Session, tlsSession } from './session.ts'

/** RFC 7858 §3.1 names no ALPN identifier; RFC 8310 and the registry do, and servers that share a port need it. */
const DOT_PROTOCOL = 'dot'

/** Asks over TCP (RFC 7766). */
export async function askOverTcp(exchange: Exchange): Promise<Reply> {
  const { host, port } = exchange.server
  const socket = net.connect({ host, port, noDelay: true })
  return ask(exchange, socket, (ready) => socket.once('connect', () => ready(null)))
}

/** Asks over TLS (RFC 7858). */
export function askOverTls(exchange: Exchange, choice: TlsChoice): Promise<Reply> {
  const { host, port } = exchange.server
  const socket = tls.connect({ ...choice, host, port, ALPNProtocols: [DOT_PROTOCOL] })
  // not before: what is written earlier could leave before the certificate was checked
  return ask(exchange, socket, (ready) => afterHandshake(socket, (handshakeMs) => ready(tlsSession(socket, handshakeMs))))
}

type WhenReady = (ready: (session: Session | null) => void) => void

async function ask({ query, signal }: Exchange, socket: net.Socket, whenReady: WhenReady): Promise<Reply> {
  const deframer = new Deframer()
  let session: Session | null = null
  try {
    return await untilAborted(signal, ({ resolve, reject }) => {
      whenReady((made) => {
        session = made
        socket.write(framed(query))
      })
      let isAnswering = false
      const hangUp = (reason: string) => (isAnswering ? new Error(reason) : new RefusedError(reason))
      socket.on('error', (error) => reject(isHangUp(error) ? hangUp(error.message) : error))
      socket.on('close', () => reject(hangUp('the server closed the connection without an answer')))
      socket.on('data', (chunk: Buffer) => {
        isAnswering = true
        deframer.push(chunk)
        const message = deframer.next()
        if (message === null) return
        const reason = mismatch(query, message)
        if (reason === null) resolve({ message: copyOf(message, message.length), session })
        else reject(new Error(reason))
      })
    })
  } finally {
    socket.destroy()
  }
}

/** Length and message in one write: a segment with the length alone has confused servers (RFC 7766 §8). */
function framed(query: Uint8Array): Uint8Array {
  const frame = new Uint8Array(PREFIX_LENGTH + query.length)
  putU16(frame, 0, query.length)
  frame.set(query, PREFIX_LENGTH)
  return frame
}
