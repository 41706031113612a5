import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import test, { describe } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Failure } from '../../dns/failure.ts'
import { Deframer } from '../../net/framing.ts'
import { aRecord, hex, response } from '../harness/messages.ts'
import { frame, holding } from '../harness/servers.ts'
import { TestSocket } from '../harness/test-socket.ts'
import { until } from '../harness/until.ts'
import { startServer } from './servers.ts'
import { byteServer, streamTo, streamWith, TestDialer } from './stream-stand.ts'

const answerTo = (query: Buffer): Buffer => response(query, { answers: [aRecord()] })

/** Hands each whole question of a connection to `onQuestion`. */
function questions(socket: Socket, onQuestion: (query: Buffer, number: number) => void): void {
  const deframer = new Deframer()
  let number = 0
  socket.on('data', (chunk: Buffer) => {
    deframer.push(chunk)
    for (let query = deframer.next(); query !== null; query = deframer.next()) onQuestion(Buffer.from(query), ++number)
  })
}

for (const protocol of ['tcp', 'tls'] as const) {
  describe(`a ${protocol} upstream, when the server`, () => {
    test('closes after each answer: one question after the other is answered', async () => {
      await using server = await byteServer(protocol, (socket) => questions(socket, (query) => socket.end(frame(answerTo(query)))))
      const { upstream, ask } = streamTo(protocol, server.endpoint)
      for (let i = 0; i < 10; i++) assert.ok((await ask()).answer)
      assert.equal(server.connections(), 10)
      await upstream.close()
    })

    test('closes after a number of answers: those who asked are answered on the next connection', async () => {
      let asked = 0
      await using server = await byteServer(protocol, (socket) =>
        questions(socket, (query, number) => {
          asked++
          if (number > 10) return
          socket.write(frame(answerTo(query)))
          if (number === 10) socket.end()
        }),
      )
      const { upstream, ask } = streamTo(protocol, server.endpoint)
      const worker = async (): Promise<void> => {
        for (let i = 0; i < 10; i++) assert.ok((await ask()).answer)
      }
      await Promise.all(Array.from({ length: 5 }, worker))
      assert.ok(server.connections() >= 5 && asked <= 100, `${server.connections()} connections, ${asked} questions`)
      await upstream.close()
    })

    test('ends its side with questions open: what it answered before is taken, the rest is asked elsewhere at once', async () => {
      let connections = 0
      await using server = await byteServer(protocol, (socket) => {
        const isFirst = ++connections === 1
        questions(socket, (query, number) => {
          if (!isFirst || number <= 5) socket.write(frame(answerTo(query)))
          if (isFirst && number === 10) socket.end()
        })
      })
      const { upstream, ask, dependencies } = streamTo(protocol, server.endpoint)
      const outcomes = await Promise.all(Array.from({ length: 10 }, () => ask()))
      assert.ok(outcomes.every(({ answer, ms }) => answer !== null && ms < 1500))
      assert.equal(dependencies.meter.counts.sent, 15)
      await upstream.close()
    })

    test('closes each connection without an answer: nobody is asked twice more, and it is left alone for a moment', async () => {
      await using server = await byteServer(protocol, (socket) => questions(socket, () => socket.destroy()))
      const { upstream, ask, dependencies, forward } = streamTo(protocol, server.endpoint)
      assert.equal((await ask()).failure, Failure.upstream_network)
      assert.equal(server.connections(), 2)
      const from = performance.now()
      while (performance.now() < from + 40) assert.equal((await ask()).failure, Failure.upstream_network)
      assert.ok(server.connections() <= 4, `${server.connections()} connections`)
      assert.ok(dependencies.meter.counts.sent <= 4)
      forward(10_000)
      const before = server.connections()
      await ask()
      assert.ok(server.connections() > before)
      await upstream.close()
    })

    test('answers another question of the same length, the wrong type or class, or sends the question back: that is no answer', async () => {
      const forgeries: ((answer: Buffer) => void)[] = [
        (answer) => answer.write('b', 13),
        (answer) => answer.writeUInt16BE(28, 25),
        (answer) => answer.writeUInt16BE(3, 27),
        (answer) => answer.writeUInt16BE(0x0100, 2),
      ]
      for (const forge of forgeries) {
        await using server = await startServer(protocol, (query, reply) => {
          const answer = answerTo(query)
          forge(answer)
          reply(answer)
        })
        const { upstream, ask } = streamTo(protocol, server.endpoint)
        assert.equal((await ask({ name: 'example.com' })).failure, Failure.upstream_malformed)
        await upstream.close()
      }
    })

    for (const [what, octets] of [
      ['a frame of no octets', '0000'],
      ['a frame that is shorter than a header', '000b 0102030405060708090a0b'],
      ['frames under ids that were not used', '000c 000000000000000000000000'.repeat(3)],
    ] as const) {
      test(`sends ${what}: the connection is given up, and its questions are asked once more`, async () => {
        let connections = 0
        await using server = await byteServer(protocol, (socket) => {
          const isFirst = ++connections === 1
          questions(socket, (query, number) => {
            // the ids are random: one in 65,536 is 0
            if (isFirst && number === 3) socket.write(hex(octets))
            if (!isFirst) socket.write(frame(answerTo(query)))
          })
        })
        const { upstream, ask } = streamTo(protocol, server.endpoint)
        const outcomes = await Promise.all([ask(), ask(), ask()])
        assert.ok(outcomes.every(({ answer }) => answer !== null))
        assert.equal(server.connections(), 2)
        await upstream.close()
      })
    }

    test('breaks off within an answer: it is asked once more', async () => {
      let connections = 0
      await using server = await byteServer(protocol, (socket) => {
        const isFirst = ++connections === 1
        questions(socket, (query) => {
          const answer = frame(answerTo(query))
          if (!isFirst) socket.write(answer)
          else socket.write(answer.subarray(0, 20), () => (protocol === 'tcp' ? socket.resetAndDestroy() : socket.destroy()))
        })
      })
      const { upstream, ask } = streamTo(protocol, server.endpoint)
      assert.ok((await ask()).answer)
      assert.equal(server.connections(), 2)
      await upstream.close()
    })

    test('sends an answer octet by octet', async () => {
      await using server = await byteServer(protocol, (socket) => {
        questions(socket, (query) => {
          const octets = [...frame(answerTo(query))]
          const next = (): void => {
            const octet = octets.shift()
            if (octet !== undefined) socket.write(Buffer.of(octet), () => setImmediate(next))
          }
          next()
        })
      })
      const { upstream, ask } = streamTo(protocol, server.endpoint)
      assert.ok((await ask()).answer)
      await upstream.close()
    })

    test('accepts and stays silent: the question ends at its deadline, and the next one has another connection', async () => {
      let connections = 0
      await using server = await byteServer(protocol, (socket) => {
        const isFirst = ++connections === 1
        questions(socket, (query) => {
          if (!isFirst) socket.write(frame(answerTo(query)))
        })
      })
      const { upstream, ask } = streamTo(protocol, server.endpoint)
      assert.equal((await ask({ budgetMs: 100 })).failure, Failure.upstream_timeout)
      assert.ok((await ask()).answer)
      assert.equal(server.connections(), 2)
      await upstream.close()
    })

    test('falls silent on a connection that worked: after a second there is another one, and only what was asked before waits', async () => {
      let connections = 0
      await using server = await byteServer(protocol, (socket) => {
        const isFirst = ++connections === 1
        questions(socket, (query, number) => {
          if (!isFirst || number === 1) socket.write(frame(answerTo(query)))
        })
      })
      const { upstream, ask, forward, dependencies } = streamTo(protocol, server.endpoint)
      const { counts } = dependencies.meter
      assert.ok((await ask()).answer)
      const outcomes = Array.from({ length: 5 }, () => ask({ budgetMs: 4000 }))
      forward(500)
      await turn()
      assert.equal(counts.connections, 1)
      forward(600)
      await until(() => counts.connections === 2)
      assert.ok((await ask()).answer)
      forward(3000)
      assert.ok((await Promise.all(outcomes)).every(({ failure }) => failure === Failure.upstream_timeout))
      await until(() => counts.connections === 1)
      assert.deepEqual([connections, counts.sent], [2, 7])
      await upstream.close()
    })

    test('takes long over one question only: it is asked once, and costs one connection', async () => {
      const held: (() => void)[] = []
      await using server = await startServer(
        protocol,
        holding((send) => held.push(send)),
      )
      const { upstream, ask, forward, dependencies } = streamTo(protocol, server.endpoint)
      await ask()
      const slow = ask({ name: 'slow.example', budgetMs: 10_000 })
      for (let i = 0; i < 4; i++) {
        forward(1100)
        await until(() => held.length === 1 && dependencies.meter.counts.connections === 2)
      }
      held[0]?.()
      assert.ok((await slow).answer)
      assert.ok((await ask()).answer)
      await until(() => dependencies.meter.counts.connections === 1)
      assert.deepEqual([server.peers.size, server.queries.length], [2, 3])
      await upstream.close()
    })

    test('answers late: the others keep their connection, and its answers are nobody else’s', async () => {
      const late: (() => void)[] = []
      await using server = await startServer(protocol, (query, reply) => {
        if (query.includes('slow')) late.push(() => reply(response(query, { answers: [aRecord('203.0.113.66')] })))
        else reply(answerTo(query))
      })
      const { upstream, ask, forward, dependencies } = streamTo(protocol, server.endpoint)
      await ask()
      const slow = Array.from({ length: 10 }, () => ask({ name: 'slow.example', budgetMs: 3000 }))
      await until(() => late.length === 10)
      for (let ms = 0; ms < 3500; ms += 500) {
        forward(500)
        // something comes all the time: it is not the path that is dead
        assert.ok((await ask()).answer)
      }
      for (const { failure } of await Promise.all(slow)) assert.equal(failure, Failure.upstream_timeout)
      for (const send of late) send()
      await until(() => dependencies.meter.counts.ignored === 10)
      assert.ok((await ask()).message?.includes(hex('c0000201')))
      assert.equal(server.peers.size, 1)
      await upstream.close()
    })

    test('asks us to leave again and again while it owes answers: it does not get more than twice the connections', async () => {
      const leave = hex('00 0029 04d0 00000000 0006 000b00020000')
      await using server = await startServer(protocol, (query, reply) => {
        if (!query.includes('slow')) reply(response(query, { answers: [aRecord()], additionals: [leave] }))
      })
      const { upstream, ask } = streamTo(protocol, server.endpoint, { connections: 2 })
      const failures = new Set<Failure | null>()
      for (let i = 0; i < 10; i++) {
        void ask({ name: 'slow.example' })
        failures.add((await ask()).failure)
      }
      assert.deepEqual([...failures], [null, Failure.overloaded])
      assert.equal(server.peers.size, 4)
      await upstream.close()
    })
  })
}

test('a stream upstream sends no more to a server that takes nothing than fits into a mebibyte, and goes on when it does', async () => {
  const socket = new TestSocket()
  socket.isFull = true
  const dialer = new TestDialer()
  const { upstream, ask } = streamWith(dialer, { connections: 1 })
  const name = Array.from({ length: 4 }, () => 'a'.repeat(60)).join('.')
  const outcomes = [ask({ name })]
  Object.assign(socket, { destroySoon: () => socket.destroy() })
  dialer.dials[0]?.sink.ready(socket.asSocket())
  await until(() => socket.writes.length === 1)
  let refused = 0
  const askMany = (): void => {
    for (let i = 0; i < 9000; i++) {
      const outcome = ask({ name })
      outcomes.push(outcome)
      void outcome.then(({ failure }) => failure === Failure.overloaded && refused++)
    }
  }
  askMany()
  await until(() => refused > 0)
  let sent = 9001 - refused
  assert.ok(sent > 3000 && sent < 4500, `${sent} questions`)
  // what waits in the socket counts as what waits before it
  socket.takeAll()
  socket.isFull = true
  await until(() => socket.writableLength > 1_000_000)
  askMany()
  // there is room for another one where the first has left
  sent++
  await until(() => refused + sent === 18_001)
  // all of them leave once it takes them
  const deframer = new Deframer()
  let taken = 0
  await until(() => {
    socket.takeAll()
    for (const chunk of socket.writes.splice(0)) {
      deframer.push(chunk)
      for (let query = deframer.next(); query !== null; query = deframer.next()) {
        taken++
        socket.push(frame(answerTo(Buffer.from(query))))
      }
    }
    return taken === sent
  })
  const answered = (await Promise.all(outcomes)).filter(({ answer }) => answer !== null)
  assert.equal(answered.length, sent)
  await upstream.close()
})
