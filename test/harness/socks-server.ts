import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type Endpoint, formatAddress } from '../../net/address.ts'

export interface SocksServer extends AsyncDisposable {
  readonly endpoint: Endpoint
  /** Whom it was asked to connect to, in order. */
  readonly targets: Endpoint[]
}

export interface SocksServerOptions {
  /** Its reply code instead of a connection (RFC 1928 §6). */
  readonly replyCode?: number
  /** What it sends first instead of its choice of a method, before it closes. */
  readonly greeting?: Uint8Array
  /** Sends everything octet by octet. */
  readonly isSlow?: boolean
  readonly port?: number
}

/** A SOCKS5 proxy (RFC 1928) without authentication that connects to IP addresses and relays. */
export async function socksServer({ replyCode = 0, greeting, isSlow = false, port = 0 }: SocksServerOptions = {}): Promise<SocksServer> {
  const targets: Endpoint[] = []
  const open = new Set<Socket>()
  const track = (socket: Socket): Socket => {
    open.add(socket)
    return socket.on('error', () => {}).on('close', () => open.delete(socket))
  }
  const send = async (client: Socket, bytes: Uint8Array): Promise<void> => {
    if (!isSlow) client.write(bytes)
    else for (const octet of bytes) await new Promise((resolve) => client.write(Buffer.of(octet), () => setImmediate(resolve)))
  }
  const serve = async (client: Socket): Promise<void> => {
    const [methods] = (await once(client, 'data')) as [Buffer]
    if (greeting !== undefined) return void client.end(greeting)
    await send(client, Buffer.of(5, methods.subarray(2).includes(0) ? 0 : 0xff))
    const [request] = (await once(client, 'data')) as [Buffer]
    const target = targetOf(request)
    targets.push(target)
    if (replyCode !== 0) return void client.end(Buffer.of(5, replyCode, 0, 1, 0, 0, 0, 0, 0, 0))
    const server = track(connect({ ...target }))
    server.on('close', () => client.destroy())
    client.on('close', () => server.destroy())
    await once(server, 'connect')
    client.pause()
    await send(client, Buffer.of(5, 0, 0, 1, 127, 0, 0, 1, 0, 0))
    client.pipe(server).pipe(client)
  }
  const listener = createServer((client) => void serve(track(client)).catch(() => client.destroy()))
  listener.listen(port, '127.0.0.1')
  await once(listener, 'listening')
  return {
    endpoint: { host: '127.0.0.1', port: (listener.address() as AddressInfo).port },
    targets,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy()
      await new Promise((resolve) => listener.close(resolve))
    },
  }
}

/** RFC 1928 §4: VER CMD RSV ATYP DST.ADDR DST.PORT, here with an address. */
function targetOf(request: Buffer): Endpoint {
  const length = request[3] === 1 ? 4 : 16
  const octets = new Uint8Array(16)
  if (length === 4) octets.set([0xff, 0xff], 10)
  octets.set(request.subarray(4, 4 + length), 16 - length)
  if (request[0] !== 5 || request[1] !== 1 || request.length !== 6 + length) throw new Error('not a CONNECT')
  return { host: formatAddress(octets), port: request.readUInt16BE(4 + length) }
}
