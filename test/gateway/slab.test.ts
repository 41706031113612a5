import assert from 'node:assert/strict'
import test from 'node:test'
import { Metrics } from '../../gateway/telemetry/metrics.ts'
import { Slab } from '../../gateway/telemetry/slab.ts'

const HELP = 'What it is.'

/** The metrics of one thread, with the families that every thread has. */
function thread(memory: SharedArrayBuffer) {
  const metrics = new Metrics(new Slab(memory))
  const total = metrics.counter('a_total', HELP)
  const open = metrics.gauge('b', HELP)
  const seconds = metrics.histogram('c_seconds', HELP, [1, 2])
  return { metrics, total, open, seconds }
}

test('render() sums the slabs of all threads by family and labels', () => {
  const memories = Array.from({ length: 3 }, () => Slab.allocate())
  const [main, first, second] = memories.map(thread)
  assert.ok(main && first && second)
  const others = memories.slice(1).map((memory) => new Slab(memory))
  // in another order in each, and some in one only
  for (const label of ['x', 'y', 'z']) first.metrics.add(first.total.slot({ of: label }))
  for (const label of ['z', 'x']) second.metrics.add(second.total.slot({ of: label }), 10)
  first.metrics.add(first.open.slot(), 3)
  second.metrics.add(second.open.slot(), -1)
  for (const [each, value] of [
    [first, 0.5],
    [second, 1],
    [second, 7],
  ] as const) {
    each.seconds.observe(each.seconds.slot({ of: 'a"b\n' }), value)
  }
  const expected = `# HELP a_total What it is.
# TYPE a_total counter
a_total{of="x"} 11
a_total{of="y"} 1
a_total{of="z"} 11
# HELP b What it is.
# TYPE b gauge
b 2
# HELP c_seconds What it is.
# TYPE c_seconds histogram
c_seconds_bucket{of="a\\"b\\n",le="1"} 2
c_seconds_bucket{of="a\\"b\\n",le="2"} 2
c_seconds_bucket{of="a\\"b\\n",le="+Inf"} 3
c_seconds_sum{of="a\\"b\\n"} 8.5
c_seconds_count{of="a\\"b\\n"} 3
`
  assert.equal(main.metrics.render(others), expected)
  assert.equal(main.metrics.render(others), expected)
})

test('a thread that takes the place of another counts on in its series, and its gauges begin at zero', () => {
  const memory = Slab.allocate()
  const main = thread(Slab.allocate())
  const seen = new Slab(memory)
  const before = thread(memory)
  before.metrics.add(before.total.slot({ of: 'x' }), 5)
  before.metrics.add(before.open.slot(), 7)
  main.metrics.clearGauges(seen)
  const next = thread(memory)
  next.metrics.add(next.total.slot({ of: 'new' }))
  next.metrics.add(next.total.slot({ of: 'x' }))
  next.metrics.add(next.open.slot())
  const text = main.metrics.render([seen])
  for (const line of ['a_total{of="x"} 6', 'a_total{of="new"} 1', 'b 1']) assert.ok(text.includes(`${line}\n`), line)
})

test('a slab that is full is an error, and stays as it was', () => {
  const memory = Slab.allocate()
  const slab = new Slab(memory)
  assert.throws(() => {
    for (let i = 0; ; i++) slab.slot('a', `i="${i}"`, 1)
  }, RangeError)
  assert.equal(slab.slot('a', 'i="7"', 1), 7)
  assert.deepEqual(new Slab(memory).series('a'), slab.series('a'))
})
