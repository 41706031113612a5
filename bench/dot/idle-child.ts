import { once } from 'node:events'
import { connect, type TLSSocket } from 'node:tls'
import { framed } from '../load/framed.ts'
import { questions } from '../questions.ts'
import type { IdlePlan } from './memory.ts'

/** Connections that have asked one question and stay, until the parent process has looked. */
const { port, count } = JSON.parse(process.argv[2] ?? '') as IdlePlan

/** Handshakes at a time. */
const LANES = 50
const [question = Buffer.alloc(0)] = questions({ hasOpt: false })
const query = framed(question)
const open: TLSSocket[] = []

let left = count
let ended = 0
async function lane(): Promise<void> {
  while (left-- > 0) {
    const socket = connect({ host: '127.0.0.1', port, ALPNProtocols: ['dot'], minVersion: 'TLSv1.3', rejectUnauthorized: false })
    socket.on('close', () => ended++)
    socket.on('error', () => {})
    open.push(socket)
    await once(socket, 'secureConnect')
    socket.write(query)
    await once(socket, 'data')
  }
}
await Promise.all(Array.from({ length: LANES }, lane))
process.send?.({ ended })
await once(process, 'message')
process.send?.({ ended })
for (const socket of open) socket.destroy()
process.disconnect?.()
