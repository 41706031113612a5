import { constants, setPriority } from 'node:os'
import { putU16 } from '../../dns/bytes.ts'
import { FrameFlag, FrameType, Setting } from '../../transports/http2/codes.ts'
import { clientPreface, encodeFrame, encodeSetting, fieldSection } from '../load/http2-frames.ts'
import { TlsPipe } from '../load/tls-pipe.ts'
import type { Disturbance } from './disturbed.ts'

export interface DisturberPlan {
  readonly port: number
  readonly kind: Disturbance
  readonly durationMs: number
}

export interface DisturberFigures {
  readonly opened: number
  readonly ended: number
  readonly frames: number
}

/** What misbehaves: one connection at a time, as fast as this process and the server let it, anew when the server has ended it. */
const plan = JSON.parse(process.argv[2] ?? '') as DisturberPlan
const NOTHING = new Uint8Array(0)
/** Frames that are written in one go, a thousand times a second. */
const BURST = 20
const MAX_WAITING = 262_144
const AGAIN_MS = 50

const accept = 'application/dns-message'
const path = (i: number): string => {
  const wire = Buffer.from('00000100000100000000000003777777076578616d706c6503636f6d0000010001', 'hex')
  // another name each time
  putU16(wire, 13, i & 0x3f3f)
  return `/dns-query?dns=${wire.toString('base64url')}`
}

class Disturber {
  /** Connections that were made, and those of them that the server has ended. */
  opened = 0
  ended = 0
  frames = 0
  #pipe: TlsPipe | null = null
  #stream = 1
  readonly #timer = setInterval(() => this.#burst(), 1)

  constructor() {
    this.#connect()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#pipe?.close()
  }

  #connect(): void {
    this.#stream = 1
    const pipe = new TlsPipe(
      { port: plan.port, protocol: 'h2', localAddress: '127.0.0.9' },
      {
        connected: () => {
          const settings = plan.kind === 'a window of one octet' ? [encodeSetting(Setting.INITIAL_WINDOW_SIZE, 1)] : []
          pipe.write(clientPreface(...settings))
          pipe.write(encodeFrame({ type: FrameType.SETTINGS, flags: FrameFlag.ACK, stream: 0, payload: NOTHING }))
          this.#pipe = pipe
          this.opened++
        },
        received: () => {},
        closed: () => {
          if (this.#pipe !== null) this.ended++
          this.#pipe = null
          setTimeout(() => this.#connect(), AGAIN_MS)
        },
      },
    )
  }

  #burst(): void {
    const pipe = this.#pipe
    if (pipe === null || pipe.waiting > MAX_WAITING) return
    for (let i = 0; i < BURST; i++) pipe.write(this.#frame())
    this.frames += BURST
  }

  #frame(): Buffer {
    const stream = this.#stream
    const payload = fieldSection({ authority: `127.0.0.1:${plan.port}`, path: path(stream), accept })
    const headers = (flags: number) => encodeFrame({ type: FrameType.HEADERS, flags, stream, payload })
    switch (plan.kind) {
      case 'rapid reset': {
        this.#stream += 2
        const reset = encodeFrame({ type: FrameType.RST_STREAM, flags: 0, stream, payload: Uint8Array.of(0, 0, 0, 8) })
        return Buffer.concat([headers(FrameFlag.END_HEADERS | FrameFlag.END_STREAM), reset])
      }
      case 'PING flood':
        return encodeFrame({ type: FrameType.PING, flags: 0, stream: 0, payload: new Uint8Array(8) })
      case 'CONTINUATION flood':
        if (stream === 1) {
          this.#stream += 2
          return headers(FrameFlag.END_STREAM)
        }
        return encodeFrame({ type: FrameType.CONTINUATION, flags: 0, stream: 1, payload: Uint8Array.of(0, 1, 0x61, 1, 0x62) })
      case 'a window of one octet':
        this.#stream += 2
        return headers(FrameFlag.END_HEADERS | FrameFlag.END_STREAM)
    }
  }
}

// what counts is what the gateway has to do, not that three processes want two cores
setPriority(constants.priority.PRIORITY_LOW)
const disturber = new Disturber()
setTimeout(() => {
  disturber.stop()
  const { opened, ended, frames } = disturber
  const figures: DisturberFigures = { opened, ended, frames }
  process.send?.(figures, () => process.exit())
}, plan.durationMs)
