import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import type { Socket } from 'node:net'
import test, { after, before, describe } from 'node:test'
import { Deframer } from '../../../net/framing.ts'
import {
  assertOthersAreAnswered,
  clientHello,
  dropsBetween,
  ended,
  type FaultStand,
  heldMebibytes,
  openBare,
  openFaultStand,
  openMany,
  STREAMS,
  untilNothingIsLeft,
} from '../../harness/faults.ts'
import { hex, question, vector } from '../../harness/messages.ts'
import { rcode } from '../../harness/pipeline.ts'
import { frame } from '../../harness/servers.ts'

const [NOERROR, FORMERR, NOTIMP] = [0, 1, 4]
const VALID = frame(question({ name: 'localhost' }))
const MALFORMED = frame(vector('V24'))
const RESPONSE = frame(vector('V12'))
const HTTP = Buffer.from('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n')
/** Octets of an endless stream that are written at once. */
const CHUNK = 65_536
/** Of endless ones, more than any buffer between the two ends takes. */
const ENDLESS_OCTETS = 67_108_864
const MEBIBYTES = 50
const RANDOM_CLIENTS = 200

/** So many octets that are always the same, and look like nothing. */
function noise(seed: number, octets: number): Buffer {
  return createHash('shake256', { outputLength: octets }).update(`noise ${seed}`).digest()
}

/** The RCODEs of all answers that come until the connection ends. */
async function rcodesUntilEnd(socket: Socket): Promise<number[]> {
  const deframer = new Deframer()
  const rcodes: number[] = []
  socket.on('data', (chunk: Buffer) => {
    deframer.push(chunk)
    for (let message = deframer.next(); message !== null; message = deframer.next()) rcodes.push(rcode(Buffer.from(message)))
  })
  socket.once('end', () => socket.end())
  await ended(socket)
  return rcodes
}

/** Writes `piece` again and again, as fast as it is taken, until the connection has ended or it was enough. */
function pour(socket: Socket, piece: Buffer): void {
  const chunk = Buffer.alloc(Math.ceil(CHUNK / piece.length) * piece.length, piece)
  let left = ENDLESS_OCTETS
  const more = () => {
    while (socket.writable && left > 0) {
      left -= chunk.length
      if (!socket.write(chunk)) return
    }
  }
  socket.on('drain', more)
  more()
}

let stand: FaultStand
before(async () => {
  stand = await openFaultStand()
})
after(() => stand[Symbol.asyncDispose]())

interface Reaction {
  readonly what: string
  readonly sent: readonly Buffer[]
  readonly rcodes: readonly number[]
  readonly drops: Record<string, number>
  /** The gateway would keep the connection, so that the client has to end it. */
  readonly stays?: boolean
}

/** Conformance §26.1 B01, B06, B07, B10; §26.2 T01, T02, T09, T12, T22. */
const REACTIONS: readonly Reaction[] = [
  {
    what: 'a frame of length 0 ends the connection, behind the answers that are due',
    sent: [VALID, hex('0000'), VALID],
    rcodes: [NOERROR],
    drops: { frame_too_short: 1 },
  },
  {
    what: 'a frame of 11 octets ends the connection',
    sent: [frame(vector('V01').subarray(0, 11)), VALID],
    rcodes: [],
    drops: { frame_too_short: 1 },
  },
  {
    what: 'a response ends the connection, behind the answers that are due',
    sent: [VALID, RESPONSE, VALID],
    rcodes: [NOERROR],
    drops: { not_a_query: 1 },
  },
  {
    what: 'ten malformed messages are FORMERR, and what follows is answered',
    sent: [...Array.from({ length: 10 }, () => MALFORMED), VALID],
    rcodes: [...Array.from({ length: 10 }, () => FORMERR), NOERROR],
    drops: { malformed_message: 10 },
    stays: true,
  },
  {
    what: 'an eleventh one is the last',
    sent: [...Array.from({ length: 11 }, () => MALFORMED), VALID],
    rcodes: Array.from({ length: 11 }, () => FORMERR),
    drops: { malformed_message: 11, too_many_malformed: 1 },
  },
  {
    what: 'other opcodes are NOTIMP, however many',
    sent: Array.from({ length: 30 }, () => frame(vector('V22'))),
    rcodes: Array.from({ length: 30 }, () => NOTIMP),
    drops: { opcode_not_implemented: 30 },
    stays: true,
  },
  {
    what: 'a request of HTTP announces a long message, and waits in vain',
    sent: [HTTP],
    rcodes: [],
    drops: { query_timeout: 1 },
  },
]

/** What goes on for ever. */
const ENDLESS: readonly Buffer[] = [MALFORMED, frame(Buffer.alloc(65_535)), RESPONSE, hex('0000')]

for (const [name, open] of Object.entries(STREAMS)) {
  describe(`over ${name}`, () => {
    for (const { what, sent, rcodes, drops, stays = false } of REACTIONS) {
      test(what, async () => {
        const { gateway } = stand
        const before = await untilNothingIsLeft(gateway)
        const { stream } = await open(gateway)
        const answers = rcodesUntilEnd(stream)
        stream.write(Buffer.concat(sent))
        if (stays) stream.end()
        assert.deepEqual(await answers, rcodes)
        assert.deepEqual(dropsBetween(before, await untilNothingIsLeft(gateway)), drops)
        await assertOthersAreAnswered(gateway)
      })
    }

    test('what never ends is not read for long, also if its client does not end when the gateway has', async () => {
      const { gateway } = stand
      const before = await untilNothingIsLeft(gateway)
      const held = heldMebibytes()
      const clients = await openMany(ENDLESS.length, () => open(gateway, { neverEnds: true }))
      for (const [index, { stream }] of clients.entries()) {
        stream.resume()
        pour(stream, ENDLESS[index] as Buffer)
      }
      await assertOthersAreAnswered(gateway)
      const grown = heldMebibytes() - held
      assert.ok(grown < MEBIBYTES, `${grown} MiB`)
      const drops = dropsBetween(before, await untilNothingIsLeft(gateway))
      for (const { raw } of clients) raw.destroy()
      assert.deepEqual(drops, { malformed_message: 22, too_many_malformed: 2, not_a_query: 1, frame_too_short: 1 })
    })

    test('noise is nothing that hurts anybody', async () => {
      const { gateway } = stand
      await untilNothingIsLeft(gateway)
      const ends: Promise<void>[] = []
      await openMany(RANDOM_CLIENTS, async (index) => {
        const { stream } = await open(gateway)
        ends.push(ended(stream))
        stream.resume()
        // every second one in frames that are whole
        stream.write(index % 2 === 0 ? noise(index, 2000) : Buffer.concat([12, 33, 500].map((octets) => frame(noise(index, octets)))))
      })
      await assertOthersAreAnswered(gateway)
      await Promise.all(ends)
      await untilNothingIsLeft(gateway)
    })
  })
}

describe('to dot without TLS', () => {
  for (const [what, sent] of [
    ['HTTP', HTTP],
    ['DNS', VALID],
    ['noise', noise(0, 2000)],
  ] as const) {
    test(`${what} ends the connection without any DNS`, async () => {
      const { gateway } = stand
      const before = await untilNothingIsLeft(gateway)
      const socket = await openBare(gateway.dot)
      const chunks: Buffer[] = []
      socket.on('data', (chunk: Buffer) => chunks.push(chunk))
      socket.write(sent)
      await ended(socket)
      // at most an alert (RFC 8446 §6)
      assert.ok(Buffer.concat(chunks).length <= 7)
      assert.deepEqual(dropsBetween(before, await untilNothingIsLeft(gateway)), { handshake_failed: 1 })
      await assertOthersAreAnswered(gateway)
    })
  }
})

test('a ClientHello over tcp announces a long message, and gets no TLS', async () => {
  const { gateway } = stand
  const before = await untilNothingIsLeft(gateway)
  const socket = await openBare(gateway.dns)
  const answers = rcodesUntilEnd(socket)
  socket.write(await clientHello())
  assert.deepEqual(await answers, [])
  assert.deepEqual(dropsBetween(before, await untilNothingIsLeft(gateway)), { query_timeout: 1 })
})
