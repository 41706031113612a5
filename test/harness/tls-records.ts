import { createCipheriv, createHmac } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { connect } from 'node:tls'
import type { Endpoint } from '../../net/address.ts'
import { openBare } from './faults.ts'

/** RFC 8446 §5.1. */
export const CONTENT = { changeCipherSpec: 20, alert: 21, handshake: 22, applicationData: 23 } as const
const KEY_UPDATE = 24
const TAG_OCTETS = 16
const HASH_OCTETS = 32

/** A record as it stands on the wire. */
export function tlsRecord(type: number, content: Uint8Array): Buffer {
  const head = Buffer.from([type, 3, 3, 0, 0])
  head.writeUInt16BE(content.length, 3)
  return Buffer.concat([head, content])
}

/** A client of TLS 1.3 whose handshake is over, and that writes its own records from then on. */
export class RecordWriter {
  readonly socket: Socket
  /** What the server sends, decrypted. */
  readonly stream: Socket
  #secret: Buffer
  #sequence = 0n

  private constructor({ socket, stream, secret }: { socket: Socket; stream: Socket; secret: Buffer }) {
    this.socket = socket
    this.stream = stream
    this.#secret = secret
  }

  static async open(endpoint: Endpoint, { ca, protocol }: { ca: string; protocol: string }): Promise<RecordWriter> {
    const socket = await openBare(endpoint)
    const stream = connect({ socket, servername: 'localhost', ca, ALPNProtocols: [protocol], ciphers: 'TLS_AES_128_GCM_SHA256' })
    stream.on('error', () => {})
    let secret = Buffer.alloc(0)
    stream.on('keylog', (line: Buffer) => {
      const [label, , value = ''] = String(line).trim().split(' ')
      if (label === 'CLIENT_TRAFFIC_SECRET_0') secret = Buffer.from(value, 'hex')
    })
    // a ticket: the server has all of the handshake, so nothing of it can come behind what is written here
    await once(stream, 'session')
    stream.resume()
    return new RecordWriter({ socket, stream, secret })
  }

  /** RFC 8446 §5.2: the record in its encrypted form. */
  seal(type: number, content: Uint8Array): Buffer {
    const plain = Buffer.concat([content, Buffer.from([type])])
    const head = tlsRecord(CONTENT.applicationData, Buffer.alloc(plain.length + TAG_OCTETS)).subarray(0, 5)
    const nonce = expand(this.#secret, 'iv', 12)
    nonce.writeBigUInt64BE(nonce.readBigUInt64BE(4) ^ this.#sequence++, 4)
    const cipher = createCipheriv('aes-128-gcm', expand(this.#secret, 'key', 16), nonce)
    cipher.setAAD(head)
    return Buffer.concat([head, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
  }

  /** RFC 8446 §4.6.3, and the next generation of keys (§7.2). */
  keyUpdate(isRequest: boolean): Buffer {
    const update = this.seal(CONTENT.handshake, Buffer.from([KEY_UPDATE, 0, 0, 1, Number(isRequest)]))
    this.#secret = expand(this.#secret, 'traffic upd', HASH_OCTETS)
    this.#sequence = 0n
    return update
  }
}

/** HKDF-Expand-Label of RFC 8446 §7.1 without a context. */
function expand(secret: Buffer, label: string, octets: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`)
  const info = Buffer.concat([Buffer.from([0, octets, name.length]), name, Buffer.from([0])])
  return hkdfExpand(secret, { info, octets })
}

/** RFC 5869 §2.3; Node has extract and expand in one. */
function hkdfExpand(secret: Buffer, { info, octets }: { info: Buffer; octets: number }): Buffer {
  return createHmac('sha256', secret)
    .update(info)
    .update(Buffer.from([1]))
    .digest()
    .subarray(0, octets)
}
