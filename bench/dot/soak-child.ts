import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type TLSSocket } from 'node:tls'
import { framed } from '../load/framed.ts'
import { questions } from '../questions.ts'
import type { SoakFigures, SoakPlan } from './soak.ts'

/** Clients of every kind, good and bad, one after the other on a few lanes, in a process that does nothing else. */
const { port, seconds } = JSON.parse(process.argv[2] ?? '') as SoakPlan

const LANES_PER_KIND = 2
/** Queries that somebody sends who does not wait for the answers. */
const BURST = 100
const FLOOD = 2000
/** How long somebody who does nothing does it. */
const STALL_MS = 500

const queries = questions({ hasOpt: true }).slice(0, FLOOD).map(framed)
const [query = Buffer.alloc(0)] = queries
const burst = Buffer.concat(queries.slice(0, BURST))
const flood = Buffer.concat(queries)
/** Messages of nothing but chance, and one too short to be any. */
const garbage = () => Buffer.concat([...Array.from({ length: 20 }, () => framed(randomBytes(40))), framed(randomBytes(3))])

type Visit = (socket: TLSSocket) => Promise<unknown>

const pause = () => new Promise((resolve) => setTimeout(resolve, STALL_MS))

/** What clients do with a connection once they have it. */
const VISITS: Readonly<Record<string, Visit>> = {
  'asks and goes': async (socket) => {
    socket.write(query)
    await once(socket, 'data')
    socket.end()
  },
  'resets it amid the answers': async (socket) => {
    socket.write(burst)
    await once(socket, 'data')
    socket.resetAndDestroy()
  },
  'sends what is no DNS': async (socket) => {
    socket.write(garbage())
    await once(socket.resume(), 'close')
  },
  'asks and never reads': async (socket) => {
    socket.pause()
    socket.write(flood)
    await pause()
  },
  'asks nothing': async () => {},
  'leaves a query half sent': async (socket) => {
    socket.write(query.subarray(0, 7))
    await pause()
  },
}

const visits = Object.fromEntries(Object.keys(VISITS).map((kind) => [kind, 0]))
const deadline = performance.now() + seconds * 1000

async function lane(kind: string, visit: Visit): Promise<void> {
  while (performance.now() < deadline) {
    const socket = connect({ host: '127.0.0.1', port, ALPNProtocols: ['dot'], rejectUnauthorized: false })
    // who misbehaves is turned out, in the middle of whatever it does
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.on('error', () => {})
    await Promise.race([once(socket, 'secureConnect').then(() => visit(socket)), closed]).catch(() => {})
    socket.destroy()
    await closed
    visits[kind] = (visits[kind] ?? 0) + 1
  }
}

await Promise.all(Object.entries(VISITS).flatMap(([kind, visit]) => Array.from({ length: LANES_PER_KIND }, () => lane(kind, visit))))
process.send?.({ visits } satisfies SoakFigures)
