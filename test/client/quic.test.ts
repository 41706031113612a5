import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { DOQ } from '../../gateway/client/doq.ts'
import { RefusedError } from '../../gateway/client/exchange.ts'
import { askOverQuic } from '../../gateway/client/quic.ts'
import type { QuicClientConnection, QuicDialOptions, QuicEngine, QuicHandler } from '../../net/quic.ts'
import { question } from '../harness/messages.ts'

/** A library whose connection ends while it is being told that the handshake is complete; `afterwards` is what it tells then. */
function engineThatEnds(afterwards: (handler: QuicHandler) => void): QuicEngine {
  const connection = {
    openStream() {
      throw new Error('quic client not running')
    },
    send() {},
    close() {},
    async destroy() {},
  } as unknown as QuicClientConnection
  return {
    opensUnidirectional: true,
    async dial(_options: QuicDialOptions, handlerOf: (connection: QuicClientConnection) => QuicHandler) {
      const handler = handlerOf(connection)
      handler.established()
      afterwards(handler)
      return connection
    },
  } as unknown as QuicEngine
}

const ask = (engine: QuicEngine, signal = new AbortController().signal) =>
  askOverQuic({ server: { host: '127.0.0.1', port: 853 }, query: question({ name: 'example.com' }), signal }, engine, {
    protocol: DOQ,
    trust: { serverName: 'localhost', roots: null },
  })

describe('asking over QUIC', () => {
  test('is refused by a server that ends the connection before anything can be asked', async () => {
    const engine = engineThatEnds((handler) => handler.closed({ code: 0, text: '' }))
    await assert.rejects(
      ask(engine),
      (error) => error instanceof RefusedError && /closed the connection without an answer/.test(error.message),
    )
  })

  test('says why it could not, where the server says nothing', async () => {
    const abort = new AbortController()
    const engine = engineThatEnds(() => abort.abort(new Error('time is up')))
    await assert.rejects(ask(engine, abort.signal), { message: 'no query could be sent: quic client not running' })
  })
})
