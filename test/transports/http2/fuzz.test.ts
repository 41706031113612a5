import assert from 'node:assert/strict'
import test from 'node:test'
import { FrameType } from '../../../transports/http2/codes.ts'
import { HTTP2_LIMITS } from '../../../transports/http2/limits.ts'
import { block, data, frame, GET, goaway, headers, POST, ping, rst, SETTINGS, settings, windowUpdate } from './frames.ts'
import { Peer } from './peer.ts'

/** Long enough to meet most branches in every run, short enough for every run. */
const MILLISECONDS = 1500
/** What one stream may have had sent by the time that all windows are open. */
const MAX_OUTPUT = 16 * 1_048_576

/** xorshift32: the same sequence for the same seed, which is printed when a run fails. */
class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed | 1
  }

  /** A whole number below `limit`. */
  below(limit: number): number {
    this.#state ^= this.#state << 13
    this.#state ^= this.#state >>> 17
    this.#state ^= this.#state << 5
    return (this.#state >>> 0) % limit
  }

  from<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T
  }
}

const PATHS = ['/', '/wait', '*', '', '/\0'] as const

/** A frame as a client might send it. */
function anyFrame(random: Random, next: () => number): Buffer {
  const stream = random.from([next(), next(), 1, 3, 5, 0, 2])
  const flags = random.from([0, 1, 4, 5, 8, 0x20, 0x2d, 0xff])
  const payload = Buffer.from(Array.from({ length: random.below(40) }, () => random.below(256)))
  const makers: readonly (() => Buffer)[] = [
    () => headers(next(), random.from([GET, POST]).with(3, [':path', random.from(PATHS)]), random.below(2)),
    () => headers(stream, [['x', 'y']], random.below(2)),
    () => data(stream, payload, random.below(2)),
    () => frame(FrameType.HEADERS, flags, next(), payload),
    () => frame(FrameType.HEADERS, 0, next(), block(GET)),
    () => frame(FrameType.CONTINUATION, random.from([0, 4]), stream, payload),
    () => settings([random.below(10), random.from([0, 1, 65_535, 16_384, 2 ** 31 - 1, 2 ** 31])]),
    () => windowUpdate(stream, random.from([0, 1, 1000, 2 ** 31 - 1])),
    () => rst(stream),
    () => ping('12345678', random.below(2)),
    () => goaway(stream, 0),
    () => frame(random.below(256), flags, stream, payload),
  ]
  const made = random.from(makers)()
  // now and then one octet is another
  if (random.below(8) === 0) made[random.below(made.length)] = random.below(256)
  return made
}

/** One connection with frames at random, and answers at random: nothing throws, and what is held stays within its bounds. */
function run(seed: number): number {
  const random = new Random(seed)
  const peer = Peer.ready({ pieces: random.from([1, 7, 1000]), connects: random.below(2) === 1 })
  let last = -1
  const next = (): number => (last += 2)
  let frames = 0
  for (; frames < 200 && !peer.session.hasEnded; frames++) {
    peer.send(anyFrame(random, next))
    for (const hearer of peer.hearers.values()) {
      if (random.below(10) > 0) continue
      random.from([
        () => hearer.answer('x'.repeat(random.from([0, 10, 70_000]))),
        () => hearer.begin(),
        () => hearer.stream.write(Buffer.alloc(random.below(100_000))),
        () => hearer.stream.end(random.from([[], [['x', 'y']]])),
        () => hearer.stream.consume(hearer.stream.unconsumed),
        () => hearer.stream.reset(2),
      ])()
    }
    peer.now += random.below(3) === 0 ? 1000 : 1
    if (random.below(5) === 0) peer.session.check(peer.now)
    if (random.below(50) === 0) peer.session.drain()
    if (random.below(5) > 0) peer.received()
    assert.ok(peer.session.openStreams <= 100)
    assert.ok(peer.session.held >= 0)
    assert.ok(peer.session.output.length <= MAX_OUTPUT)
  }
  peer.session.abort()
  assert.equal(peer.session.openStreams, 0)
  assert.equal(peer.session.held, 0)
  return frames
}

test('frames at random do no harm', () => {
  const first = Number(process.env.ATLAS_FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31))
  const end = performance.now() + MILLISECONDS
  let frames = 0
  let seed = first
  for (; performance.now() < end; seed++) {
    try {
      frames += run(seed)
    } catch (error) {
      throw new Error(`Cannot survive the frames of ATLAS_FUZZ_SEED=${seed}`, { cause: error })
    }
  }
  assert.ok(frames > 1000, `only ${frames} frames`)
})

test('octets at random behind the preface do no harm', () => {
  for (let seed = 1; seed < 500; seed++) {
    const random = new Random(seed * 7919)
    const peer = Peer.ready({ pieces: 1 + random.below(50) })
    peer.send(SETTINGS, Buffer.from(Array.from({ length: 500 }, () => random.below(256))))
    peer.received()
    assert.ok(peer.session.held <= HTTP2_LIMITS.connectionWindow)
    peer.session.abort()
  }
})
