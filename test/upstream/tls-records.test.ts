import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import test, { describe } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { u16 } from '../../dns/bytes.ts'
import { TlsDialer } from '../../upstream/dial-tls.ts'
import type { Dial, DialSink } from '../../upstream/dialer.ts'
import { StreamUpstream } from '../../upstream/stream.ts'
import { aRecord, response } from '../harness/messages.ts'
import { frame } from '../harness/servers.ts'
import type { Outcome } from '../harness/upstream.ts'
import { terms, trust } from './servers.ts'
import { byteServer, standWith, streamTo } from './stream-stand.ts'

/** Questions of one turn; the last are more octets than are kept in memory for the next ones, and than a record takes. */
const COUNTS = [1, 2, 3, 4, 5, 20, 200, 600]
const PIPELINING = 1000

/**
 * A server that takes one question each time the network has something to read, as nsd 4.6 does: what it has decrypted besides waits until
 * the network has something again. Each chunk is a record.
 */
class EventServer {
  /** Records that nobody has read, and the rest of one that was. */
  readonly #network: Buffer[] = []
  #decrypted: Buffer = Buffer.alloc(0)
  readonly records: number[] = []

  serve(socket: Socket): void {
    socket.on('data', (record: Buffer) => {
      this.records.push(record.length)
      this.#network.push(record)
      while (this.#network.length > 0) {
        const query = this.#takeOne()
        if (query !== null) socket.write(frame(response(query, { answers: [aRecord()] })))
      }
    })
  }

  /** Null: not all of it has arrived. */
  #takeOne(): Buffer | null {
    for (;;) {
      const end = this.#decrypted.length < 2 ? Number.POSITIVE_INFINITY : 2 + u16(this.#decrypted, 0)
      if (this.#decrypted.length >= end) {
        const query = this.#decrypted.subarray(2, end)
        this.#decrypted = this.#decrypted.subarray(end)
        return query
      }
      const next = this.#network.shift()
      if (next === undefined) return null
      this.#decrypted = Buffer.concat([this.#decrypted, next])
    }
  }
}

function assertAnswered(outcomes: readonly Outcome[]): void {
  assert.equal(outcomes.filter(({ answer }) => answer !== null).length, outcomes.length)
}

describe('a tls upstream that takes one question each time the network has something', () => {
  for (const count of COUNTS) {
    test(`answers ${count} that are asked at once, in few records`, async () => {
      const events = new EventServer()
      await using server = await byteServer('tls', (socket) => events.serve(socket))
      const { upstream, ask } = streamTo('tls', server.endpoint, { pipelining: PIPELINING })
      // on a connection that is there already, and on one that is opened for them
      for (let round = 0; round < 2; round++) assertAnswered(await Promise.all(Array.from({ length: count }, () => ask())))
      assert.equal(server.connections(), 1)
      assert.ok(events.records.length <= 20, `${events.records.length} records`)
      await upstream.close()
    })
  }

  test('answers those that are asked while others are being written', async () => {
    const events = new EventServer()
    await using server = await byteServer('tls', (socket) => events.serve(socket))
    const { upstream, ask } = streamTo('tls', server.endpoint, { pipelining: PIPELINING })
    const outcomes: Promise<Outcome>[] = []
    for (let round = 0; round < 60; round++) {
      for (let i = 0; i <= round % 4; i++) outcomes.push(ask())
      await turn()
    }
    assertAnswered(await Promise.all(outcomes))
    await upstream.close()
  })

  test('answers those that had to wait until the network took more', async () => {
    const events = new EventServer()
    await using server = await byteServer('tls', (socket) => events.serve(socket))
    const sockets: Socket[] = []
    class HeldDialer extends TlsDialer {
      override dial(sink: DialSink): Dial {
        return super.dial({
          ready(socket) {
            sockets.push(socket)
            sink.ready(socket)
          },
          failed: (failure) => sink.failed(failure),
        })
      }
    }
    const { upstream, ask } = standWith((dependencies) => {
      const options = { endpoint: server.endpoint, terms: terms(), trust: trust() }
      return new StreamUpstream(new HeldDialer(options, dependencies), { name: 'test', terms: terms() }, dependencies)
    })
    assertAnswered([await ask()])
    sockets[0]?.cork()
    const outcomes: Promise<Outcome>[] = []
    for (let round = 0; round < 5; round++) {
      outcomes.push(ask())
      await turn()
      await turn()
    }
    sockets[0]?.uncork()
    assertAnswered(await Promise.all(outcomes))
    await upstream.close()
  })
})
