import assert from 'node:assert/strict'
import test from 'node:test'
import { Wheel, WheelEntry } from '../../net/wheel.ts'

class Alarm extends WheelEntry {
  readonly fired: number[] = []
  after: ((now: number) => void) | null = null

  override onDeadline(now: number): void {
    this.fired.push(now)
    this.after?.(now)
  }
}

function wheelAt(start: number): { wheel: Wheel; to: (now: number) => void } {
  let now = start
  const wheel = new Wheel(() => now)
  const to = (target: number): void => {
    for (; now < target; now += 10) wheel.advance(now)
    now = target
    wheel.advance(now)
  }
  return { wheel, to }
}

test('Wheel fires a deadline once, not before its time and at most a tick after it', () => {
  for (const delay of [0, 1, 9, 10, 11, 400, 4000, 10_239, 10_240, 10_241, 60_000]) {
    const { wheel, to } = wheelAt(1003)
    const alarm = new Alarm()
    wheel.set(alarm, 1003 + delay)
    to(1003 + 70_000)
    assert.equal(alarm.fired.length, 1, String(delay))
    const late = (alarm.fired[0] ?? 0) - 1003 - delay
    assert.ok(late >= 0 && late <= 20, `${delay}: ${late} ms late`)
    assert.equal(wheel.size, 0)
  }
})

test('Wheel forgets a deadline that was cleared, and moves one that is set again', () => {
  const { wheel, to } = wheelAt(0)
  const cleared = new Alarm()
  const moved = new Alarm()
  wheel.set(cleared, 50)
  wheel.set(moved, 50)
  wheel.clear(cleared)
  wheel.clear(cleared)
  wheel.set(moved, 200)
  to(100)
  assert.deepEqual([cleared.fired, moved.fired], [[], []])
  to(300)
  assert.equal(moved.fired.length, 1)
  assert.equal(wheel.size, 0)
})

test('Wheel survives deadlines that set and clear others while it fires', () => {
  const { wheel, to } = wheelAt(0)
  const again = new Alarm()
  const victim = new Alarm()
  again.after = (now) => {
    wheel.clear(victim)
    if (again.fired.length < 3) wheel.set(again, now)
  }
  wheel.set(again, 20)
  wheel.set(victim, 20)
  to(200)
  assert.equal(again.fired.length, 3)
  assert.equal(victim.fired.length, 0)
  assert.equal(wheel.size, 0)
})

test('Wheel fires everything that is due after the thread stood still', () => {
  let now = 0
  const wheel = new Wheel(() => now)
  const alarms = Array.from({ length: 100 }, (_, i) => {
    const alarm = new Alarm()
    wheel.set(alarm, i * 1000)
    return alarm
  })
  now = 200_000
  wheel.advance(now)
  assert.ok(alarms.every((alarm) => alarm.fired.length === 1))
})
