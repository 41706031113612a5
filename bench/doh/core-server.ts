import { readFileSync } from 'node:fs'
import { createSecureServer, type ServerHttp2Stream } from 'node:http2'
import { argv } from 'node:process'
import { MEDIA_TYPE } from '../../transports/doh/request.ts'

/** The least that a DoH server on Node's own HTTP/2 does: the same answer to whatever is asked. */
const [, , port, cert = '', key = '', answer = ''] = argv
const content = Buffer.from(answer, 'base64url')
const head = { ':status': 200, 'content-type': MEDIA_TYPE, 'content-length': content.length, 'cache-control': 'max-age=86400' }

const server = createSecureServer({ cert: readFileSync(cert), key: readFileSync(key), minVersion: 'TLSv1.3' })
server.on('stream', (stream: ServerHttp2Stream) => {
  // or the connection's window stays closed (RFC 9113 §6.9)
  stream.resume()
  stream.respond(head)
  stream.end(content)
})
server.listen({ host: '127.0.0.1', port: Number(port), backlog: 1024 })
