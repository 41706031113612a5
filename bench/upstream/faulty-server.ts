import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { Deframer } from '../../net/framing.ts'
import { framed } from '../load/framed.ts'
import { Dice } from '../measure.ts'
import { respond } from '../upstream.ts'

export type FaultyKind = 'udp' | 'tls'
export type Behaviour = 'healthy' | 'silent' | 'slow' | 'lossy' | 'flapping'

/** As near as a server of the same network is. */
const DELAY_MS = 1
const SLOW_MS = 500
const LOSS = 0.2
/** How long one that flaps is dead, and then alive. */
const PHASE_MS = 2000
const RECEIVE_BUFFER = 4 * 1024 ** 2

export interface FaultyPlan {
  readonly kind: FaultyKind
  /** PEM files. */
  readonly certificate: string
  readonly key: string
}

/**
 * Knows two addresses of every name, and misbehaves when it is told to. One that is silent is there: it takes datagrams and
 * connections, and nothing ever comes back, not even a handshake. It hears the rest when it comes back to life.
 */
export class FaultyServer {
  readonly #dice = new Dice()
  /** Connections that came while it was silent. */
  readonly #held = new Set<Socket>()
  #admit: (connection: Socket) => void = () => {}
  #behaviour: Behaviour = 'healthy'
  #isSilent = false
  #phase: NodeJS.Timeout | undefined
  #questions = 0

  /** How many it was asked that it could read, answered or not. */
  get questions(): number {
    return this.#questions
  }

  /** The port that it listens on. */
  listen({ kind, certificate, key }: FaultyPlan): Promise<number> {
    return kind === 'udp' ? this.#listenUdp() : this.#listenTls({ cert: readFileSync(certificate), key: readFileSync(key) })
  }

  behave(behaviour: Behaviour): void {
    clearInterval(this.#phase)
    this.#behaviour = behaviour
    this.#setSilent(behaviour === 'silent' || behaviour === 'flapping')
    if (behaviour === 'flapping') this.#phase = setInterval(() => this.#setSilent(!this.#isSilent), PHASE_MS)
  }

  async #listenUdp(): Promise<number> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: RECEIVE_BUFFER })
    socket.on('message', (query, { port, address }) => this.#onQuestion(query, (response) => socket.send(response, port, address)))
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    return socket.address().port
  }

  async #listenTls(identity: { readonly cert: Buffer; readonly key: Buffer }): Promise<number> {
    const secure = createTlsServer({ ...identity, minVersion: 'TLSv1.3', ALPNProtocols: ['dot'] }, (socket) => this.#serve(socket))
    this.#admit = (connection) => void secure.emit('connection', connection)
    const server = createServer({ noDelay: true, pauseOnConnect: true }, (connection) => {
      connection.on('error', () => {})
      if (!this.#isSilent) this.#admit(connection)
      else this.#held.add(connection.on('close', () => this.#held.delete(connection)))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  }

  #serve(socket: TLSSocket): void {
    const deframer = new Deframer()
    // who asks may be ended at any time
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      deframer.push(chunk)
      for (let query = deframer.next(); query !== null; query = deframer.next()) {
        this.#onQuestion(query, (response) => socket.write(framed(response)))
      }
    })
  }

  #onQuestion(query: Uint8Array, reply: (response: Buffer) => void): void {
    this.#questions++
    if (this.#isSilent || (this.#behaviour === 'lossy' && this.#dice.next() < LOSS)) return
    const response = respond(query)
    if (response !== null) setTimeout(reply, this.#behaviour === 'slow' ? SLOW_MS : DELAY_MS, response)
  }

  #setSilent(isSilent: boolean): void {
    this.#isSilent = isSilent
    if (isSilent) return
    for (const connection of this.#held) this.#admit(connection)
    this.#held.clear()
  }
}
