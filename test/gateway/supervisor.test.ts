import assert from 'node:assert/strict'
import test from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { pino } from 'pino'
import { OperationalError } from '../../dns/operational-error.ts'
import type { DataPlaneFacts, WorkerSetup } from '../../gateway/data-plane.ts'
import type { Command, WorkerHandle } from '../../gateway/workers/protocol.ts'
import { SUPERVISION, type Supervision } from '../../gateway/workers/seat.ts'
import { Supervisor, type WorkerPlace } from '../../gateway/workers/supervisor.ts'

const FACTS: DataPlaneFacts = { endpoints: { dns: [], dot: [], doq: [], doh: [] }, http3: true }

/** A worker that does what the test says. */
class FakeWorker implements WorkerHandle {
  readonly place: WorkerPlace
  readonly told: Command[] = []
  readonly start = Promise.withResolvers<DataPlaneFacts>()
  readonly end = Promise.withResolvers<Error | null>()
  answer: () => Promise<DataPlaneFacts> = async () => FACTS

  constructor(place: WorkerPlace) {
    this.place = place
    this.started.catch(() => {})
  }

  get started() {
    return this.start.promise
  }

  get ended() {
    return this.end.promise
  }

  tell(command: Command): Promise<DataPlaneFacts> {
    this.told.push(command)
    return this.answer()
  }

  async terminate(): Promise<void> {
    this.crash(null)
  }

  crash(error: Error | null = new Error('gone')): void {
    this.start.reject(error ?? new Error('ended'))
    this.end.resolve(error)
  }
}

function supervise(workers: number, times: Partial<Supervision> = {}) {
  const launched: FakeWorker[] = []
  const lines: Record<string, unknown>[] = []
  const counts = { running: [] as number[], restarted: [] as string[], ended: [] as number[] }
  const beats = new Int32Array(new SharedArrayBuffer(4 * workers))
  const places: WorkerPlace[] = []
  const supervisor = new Supervisor({
    workers,
    setupOf: (place) => {
      places.push(place)
      return {} as WorkerSetup
    },
    launcher: {
      launch: () => {
        const worker = new FakeWorker(places.at(-1) as WorkerPlace)
        launched.push(worker)
        return worker
      },
    },
    beats,
    onEnded: (index) => counts.ended.push(index),
    onReplaced: () => {},
    meter: { running: (n) => counts.running.push(n), restarted: (reason) => counts.restarted.push(reason) },
    log: pino({ base: null }, { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) }),
    times: { ...SUPERVISION, ...times },
  })
  const nth = async (n: number): Promise<FakeWorker> => {
    while (launched.length <= n) await turn()
    return launched[n] as FakeWorker
  }
  /** The n-th of all that were launched serves. */
  const serve = async (n: number): Promise<FakeWorker> => {
    const worker = await nth(n)
    worker.start.resolve(FACTS)
    await turn()
    return worker
  }
  return { supervisor, launched, lines, counts, beats, nth, serve }
}

test('the first worker starts before the others, which are told what it has bound', async () => {
  const { supervisor, launched, counts, serve } = supervise(3)
  /** How many workers there were when it was told. */
  const heard: [DataPlaneFacts, number][] = []
  const started = supervisor.start((facts) => heard.push([facts, launched.length]))
  await turn()
  assert.equal(launched.length, 1)
  await serve(0)
  assert.deepEqual(
    launched.map(({ place }) => place),
    [
      { index: 0, isReplacement: false },
      { index: 1, isReplacement: false },
      { index: 2, isReplacement: false },
    ],
  )
  assert.deepEqual(heard, [[FACTS, 1]])
  await serve(1)
  await serve(2)
  await started
  assert.deepEqual(counts.running, [1, 2, 3])
  await supervisor.close()
  assert.deepEqual(
    launched.map(({ told }) => told),
    [[{ name: 'close' }], [{ name: 'close' }], [{ name: 'close' }]],
  )
  await supervisor.close()
  assert.deepEqual([counts.running.at(-1), counts.restarted], [0, []])
})

test('a worker that cannot start makes the start fail with its error', async () => {
  const { supervisor, counts, serve, nth } = supervise(3)
  const started = supervisor.start(() => {})
  const first = await serve(0)
  const second = await nth(1)
  second.crash(new OperationalError('ATLAS_LISTEN', 'Cannot listen'))
  await assert.rejects(started, { code: 'ATLAS_LISTEN', message: 'Cannot listen' })
  await supervisor.close()
  assert.deepEqual(first.told, [{ name: 'close' }])
  assert.deepEqual(counts.ended.toSorted(), [0, 1, 2])
})

test('a worker that ends is replaced at once, then after pauses that grow', async () => {
  const { supervisor, lines, counts, serve, nth } = supervise(1, { pauseMs: 1, maxPauseMs: 4 })
  const started = supervisor.start(() => {})
  await serve(0)
  await started
  for (let n = 0; n < 5; n++) {
    const worker = await nth(n)
    worker.crash(new Error(`crash ${n}`))
    // every other replacement does not even start
    if (n % 2 === 0) await serve(n + 1)
  }
  const told = lines.filter(({ level }) => level === 50)
  assert.deepEqual(
    told.map(({ inMs, err }) => [inMs, (err as { message: string }).message]),
    [0, 1, 2, 4, 4].map((pause, n) => [pause, `crash ${n}`]),
  )
  assert.deepEqual([counts.restarted.length, counts.ended.length], [5, 5])
  const last = await serve(5)
  assert.deepEqual(last.place, { index: 0, isReplacement: true })
  await supervisor.close()
})

test('after a time without trouble the pauses begin anew', async () => {
  const { supervisor, lines, serve } = supervise(1, { healthyMs: 0, pauseMs: 60_000 })
  const started = supervisor.start(() => {})
  for (let n = 0; n < 3; n++) (await serve(n)).crash()
  await started
  await serve(3)
  assert.deepEqual(
    lines.filter(({ level }) => level === 50).map(({ inMs }) => inMs),
    [0, 0, 0],
  )
  await supervisor.close()
})

test('a worker without a beat in many looks is ended and replaced; one that beats is not, nor one that still starts', async () => {
  const { supervisor, launched, counts, beats, serve, nth } = supervise(2, { lookMs: 1, missedLooks: 20 })
  const alive = setInterval(() => Atomics.add(beats, 1, 1), 1)
  const started = supervisor.start(() => {})
  await serve(0)
  await serve(1)
  await started
  const stuck = launched[0] as FakeWorker
  assert.equal(await stuck.ended, null)
  const next = await nth(2)
  assert.equal(next.place.index, 0)
  assert.deepEqual(counts.restarted, ['unresponsive'])
  for (const before = Atomics.load(beats, 1); Atomics.load(beats, 1) < before + 40; ) await turn()
  assert.equal(launched.length, 3)
  clearInterval(alive)
  await supervisor.close()
})

test('commands reach workers that are still starting; who does not acknowledge is complained about', async () => {
  const { supervisor, lines, serve, nth } = supervise(2, { acknowledgeMs: 5 })
  const command = { name: 'settle', deadlineMs: 0 } as const
  const started = supervisor.start(() => {})
  const first = await serve(0)
  const second = await serve(1)
  await started
  first.crash()
  const next = await nth(2)
  await supervisor.tell(command)
  assert.deepEqual([first.told, second.told, next.told], [[], [command], [command]])
  assert.equal(lines.filter(({ command: name }) => name !== undefined).length, 0)
  second.answer = () => new Promise(() => {})
  next.answer = () => Promise.reject(new Error('refused'))
  await supervisor.tell(command)
  assert.deepEqual(
    lines.filter(({ command: name }) => name !== undefined).map(({ worker, err }) => [worker, (err as { message: string }).message]),
    [
      [0, 'refused'],
      [1, 'no acknowledgement within 5 ms'],
    ],
  )
  await supervisor.close()
})

test('apply() resolves when all have acknowledged, those that take the place of others too, and says which one has not', async () => {
  const { supervisor, lines, serve, nth } = supervise(2, { acknowledgeMs: 5 })
  const command = { name: 'challenges', certificates: [] } as const
  const started = supervisor.start(() => {})
  // told before there is anybody
  let isApplied = false
  const early = supervisor.apply(command).then(() => (isApplied = true))
  const first = await serve(0)
  assert.equal(isApplied, false)
  const second = await serve(1)
  await Promise.all([started, early])
  first.crash()
  const next = await nth(2)
  await supervisor.apply(command)
  // the second was launched after the first apply(): it is made from the newest state
  assert.deepEqual([first.told, second.told, next.told], [[command], [command], [command]])
  next.answer = () => Promise.reject(new Error('refused'))
  await assert.rejects(supervisor.apply(command), { message: 'worker 0: refused' })
  second.answer = () => new Promise(() => {})
  next.answer = async () => FACTS
  await assert.rejects(supervisor.apply(command), { message: 'worker 1: no acknowledgement within 5 ms' })
  assert.deepEqual(
    lines.filter(({ command: name }) => name !== undefined),
    [],
  )
  await supervisor.close()
  await assert.rejects(supervisor.apply(command), { message: 'worker 0: the worker was ended' })
})

test('nobody is started any more once the end has begun, and a worker that starts just then is ended', async () => {
  const { supervisor, launched, serve, nth } = supervise(2, { pauseMs: 60_000 })
  const started = supervisor.start(() => {})
  const first = await serve(0)
  const second = await serve(1)
  await started
  first.crash()
  const next = await serve(2)
  // the second time it would be after a minute
  next.crash()
  second.crash()
  const starting = await nth(3)
  await supervisor.drain(10)
  assert.deepEqual(starting.told, [])
  assert.equal(launched.length, 4)
  assert.equal(await starting.ended, null)
})
