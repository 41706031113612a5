import { readFileSync } from 'node:fs'
import { argv } from 'node:process'
import { createServer } from 'node:tls'
import { Deframer } from '../../net/framing.ts'
import { framed } from '../load/framed.ts'

/** The least that a DoT server on Node's own TLS does: the same answer to whatever is asked. */
const [, , port, cert = '', key = '', answer = ''] = argv
const response = framed(Buffer.from(answer, 'base64url'))

const server = createServer({ cert: readFileSync(cert), key: readFileSync(key), minVersion: 'TLSv1.3', ALPNProtocols: ['dot'] })
server.on('secureConnection', (socket) => {
  const deframer = new Deframer()
  socket.on('error', () => {})
  socket.on('data', (chunk: Buffer) => {
    deframer.push(chunk)
    for (let query = deframer.next(); query !== null; query = deframer.next()) {
      // the identifier
      response.set(query.subarray(0, 2), 2)
      socket.write(Buffer.from(response))
    }
  })
})
server.listen({ host: '127.0.0.1', port: Number(port), backlog: 1024 })
