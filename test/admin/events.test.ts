import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import test, { describe } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { ControlEvent } from '../../gateway/admin/control.ts'
import { EventFeed } from '../../gateway/admin/events.ts'
import { Followers } from '../../gateway/admin/followers.ts'
import { until } from '../harness/until.ts'
import { FakeControl } from './control.ts'
import { ANY_PORT, ask, BEARER, openDoors, Reading, TOKEN } from './doors.ts'

async function follow(socket: Socket, fields = ''): Promise<Reading & { begin: string }> {
  const reading = new Reading(socket)
  socket.write(`GET /v1/events HTTP/1.1\r\nHost: localhost\r\n${fields}\r\n`)
  return Object.assign(reading, { begin: await reading.until(/: following\n\n/) })
}

/** The events in a text, as their data say. */
function eventsIn(text: string): ControlEvent[] {
  return [...text.matchAll(/^data: ([^\n]*)\n/gm)].map(([, data = '']) => JSON.parse(data) as ControlEvent)
}

describe('the events', () => {
  test('come to all who follow, as they happen', async (t) => {
    const { control, connectSocket, connectTcp } = await openDoors(t)
    const followers = [await follow(connectSocket()), await follow(connectTcp(), BEARER)]
    const event = control.emit('two\nlines \u2028')
    for (const follower of followers) {
      assert.match(follower.begin, /^HTTP\/1\.1 200 .*cache-control: no-store\r\n.*content-type: text\/event-stream\r\n/s)
      const text = await follower.until(/data: [^\n]*\n\n/)
      assert.match(text, /^[\s\da-f]+\r\nid: 1\nevent: reload\ndata: \{/)
      assert.deepEqual(eventsIn(text), [event])
    }
  })

  test('that were missed come first, where the last one is told', async (t) => {
    const { control, connectSocket } = await openDoors(t)
    for (let i = 0; i < 200; i++) control.emit()
    const since = async (id: string) => {
      const follower = await follow(connectSocket(), `Last-Event-ID: ${id}\r\n`)
      control.emit('now')
      const ids = eventsIn(follower.begin + (await follower.until(/now.*\n\n/))).map((event) => event.id)
      follower.socket.destroy()
      return [ids.length - 1, ids[0]]
    }
    assert.deepEqual(await since('197'), [3, 198])
    assert.deepEqual(await since('201'), [0, 202])
    assert.deepEqual(await since('5'), [128, 75])
    // of a process before this one
    assert.deepEqual(await since('9000'), [128, 76])
    for (const id of ['x', '-1', '1e3', '', '9'.repeat(400)]) assert.equal((await since(id))[0], 0)
  })

  test('are for eight at a time at each door, then for the next', async (t) => {
    const open = await openDoors(t)
    const followers: Reading[] = []
    for (let i = 0; i < 8; i++) followers.push(await follow(open.connectSocket()))
    const refused = await open.socket(ask('GET /v1/events'))
    assert.deepEqual([refused.status, (JSON.parse(refused.body) as { error: { code: string } }).error.code], [503, 'unavailable'])
    await follow(open.connectTcp(), BEARER)
    assert.equal((await open.socket(ask('GET /healthz'))).status, 200)
    assert.equal((await open.socket(ask('HEAD /v1/events'))).status, 200)
    followers[3]?.socket.destroy()
    // the door learns of it when it looks at the connection the next time, which nothing tells
    await until(async () => (await firstLine(open.connectSocket())) === 'HTTP/1.1 200 OK')
  })

  test('cut off who does not read them, and nobody else', async (t) => {
    const { control, connectSocket } = await openDoors(t)
    const slow = await follow(connectSocket())
    const quick = await follow(connectSocket())
    slow.socket.pause()
    // more than the buffers of a socket hold; a reader keeps up with it
    for (let i = 0; i < 100; i++) {
      const { id } = control.emit('x'.repeat(8_000))
      await quick.until(new RegExp(`"id":${id},.*\n\n`))
    }
    slow.socket.resume()
    assert.ok(eventsIn(await slow.toEnd()).length < 100)
    control.emit('the end')
    await quick.until(/the end/)
  })

  test('have heartbeats between them', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const { connectSocket } = await openDoors(t)
    const follower = await follow(connectSocket())
    for (let beats = 0; beats < 3; beats++) {
      t.mock.timers.tick(14_999)
      t.mock.timers.tick(1)
      assert.match(await follower.until(/: \n\n/), /^[\s\da-f]*: \n\n\s*$/)
    }
  })

  test('cut off who does not read for the time of two heartbeats', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const control = new FakeControl()
    const feed = new EventFeed(control)
    feed.start()
    const followers = new Followers(feed)
    const server = createServer((_, response) => void followers.add(response, null)).listen(0, '127.0.0.1')
    t.after(() => server.close())
    await once(server, 'listening')
    const answered = once(server, 'request')
    const stuck = await follow(connect((server.address() as AddressInfo).port, '127.0.0.1'))
    const [, response] = (await answered) as [IncomingMessage, ServerResponse]
    stuck.socket.pause()
    // until its buffers are full, and the door has to keep something for it
    while (response.writableLength < 10_000) {
      control.emit('x'.repeat(5_000))
      await turn()
    }
    t.mock.timers.tick(15_000)
    assert.ok(followers.has(response))
    t.mock.timers.tick(15_000)
    assert.ok(!followers.has(response) && response.destroyed)
    stuck.socket.resume()
    assert.doesNotMatch(await stuck.toEnd(), /: \n\n/)
  })

  test('end with the door', async (t) => {
    const { doors, control, connectSocket, connectTcp } = await openDoors(t)
    const followers = [await follow(connectSocket()), await follow(connectTcp(), BEARER)]
    await doors.close()
    for (const follower of followers) await follower.toEnd()
    assert.equal(control.followers.size, 0)
  })

  test('end with the token, where they were followed with it', async (t) => {
    const { doors, control, connectSocket, connectTcp } = await openDoors(t)
    const local = await follow(connectSocket())
    const remote = await follow(connectTcp(), BEARER)
    await doors.reconfigure({ endpoint: ANY_PORT, token: TOKEN, hosts: ['gw'] })
    control.emit('still there')
    await remote.until(/still there/)
    await doors.reconfigure({ endpoint: ANY_PORT, token: `${TOKEN}-2`, hosts: [] })
    control.emit('not for everybody')
    // the connection stays, and what it asks next is asked with another token or not at all
    remote.socket.end(ask('GET /v1/status', BEARER))
    const rest = await remote.toEnd()
    assert.match(rest, /HTTP\/1\.1 401 /)
    assert.doesNotMatch(rest, /not for everybody/)
    await local.until(/not for everybody/)
  })
})

async function firstLine(socket: Socket): Promise<string> {
  const reading = new Reading(socket)
  socket.write('GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n')
  const [line = ''] = (await reading.until(/\r\n/)).split('\r\n')
  socket.destroy()
  return line
}
