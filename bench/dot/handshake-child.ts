import { once } from 'node:events'
import { connect, type TLSSocket } from 'node:tls'
import { framed } from '../load/framed.ts'
import { CIPHER } from '../load/tls-pipe.ts'
import { questions } from '../questions.ts'
import type { HandshakeFigures, HandshakePlan } from './handshakes.ts'

/** Connections that come, ask one question, take the answer and go, in a process that does nothing else. */
const { port, count, isResumed } = JSON.parse(process.argv[2] ?? '') as HandshakePlan

/** Connections at a time. */
const LANES = 8
/** One for all, so that no server has a cheaper one than another. */
const GROUP = 'X25519'
const [question = Buffer.alloc(0)] = questions({ hasOpt: false })
const query = framed(question)

function open(session?: Buffer): TLSSocket {
  return connect({
    host: '127.0.0.1',
    port,
    ALPNProtocols: ['dot'],
    minVersion: 'TLSv1.3',
    ciphers: CIPHER,
    ecdhCurve: GROUP,
    rejectUnauthorized: false,
    ...(session === undefined ? {} : { session }),
  })
}

async function firstSession(): Promise<Buffer> {
  const socket = open()
  const session = once(socket, 'session') as Promise<[Buffer]>
  socket.write(query)
  const [ticket] = await session
  socket.destroy()
  return ticket
}

let resumed = 0
async function visit(session: Buffer | undefined): Promise<void> {
  const socket = open(session)
  await once(socket, 'secureConnect')
  if (socket.isSessionReused()) resumed++
  socket.write(query)
  await once(socket, 'data')
  socket.end()
  await once(socket, 'close')
}

const session = isResumed ? await firstSession() : undefined
let left = count
async function lane(): Promise<void> {
  while (left-- > 0) await visit(session)
}
const from = performance.now()
await Promise.all(Array.from({ length: LANES }, lane))
const figures: HandshakeFigures = { resumed, seconds: (performance.now() - from) / 1000 }
process.send?.(figures)
