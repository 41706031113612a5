import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { PrefixSet } from '../../net/address.ts'
import { listenError } from '../../net/listen.ts'
import { AddressWatch, type BoundSocket, MAX_ADDRESSES, WildcardListener } from '../../transports/wildcard-listener.ts'
import { prefixes } from '../harness/gateway.ts'

/** A machine without a kernel: which sockets there are and have been, and what was told of them. */
class Machine {
  addresses: readonly string[] = ['192.0.2.1', '192.0.2.2']
  /** What the list of addresses fails with. */
  broken: Error | null = null
  /** How often it was read. */
  reads = 0
  readonly refusing = new Map<string, string>()
  readonly named = new Set<string>()
  readonly bound: string[] = []
  readonly closed: string[] = []
  readonly drained: string[] = []
  readonly told: string[] = []
  readonly watch = new AddressWatch()
  /** Binding takes until this resolves. */
  gate: Promise<void> = Promise.resolve()
  readonly #t: TestContext

  constructor(t: TestContext) {
    this.#t = t
    t.mock.timers.enable({ apis: ['setInterval'] })
  }

  open(port = 53): Promise<WildcardListener> {
    const slice = { endpoint: { host: '0.0.0.0', port }, access: new PrefixSet(prefixes('127.0.0.0/8')), reusePort: false }
    return WildcardListener.open(slice, {
      addresses: () => {
        this.reads++
        if (this.broken !== null) throw this.broken
        return this.addresses
      },
      isNamed: ({ host }) => this.named.has(host),
      bind: ({ host, port: wanted }) => this.#bind(host, wanted),
      observer: {
        appeared: ({ host }) => this.told.push(`appeared ${host}`),
        vanished: ({ host }) => this.told.push(`vanished ${host}`),
        failed: ({ host }) => this.told.push(`failed ${host}`),
        crowded: (_, left) => this.told.push(`${left} left`),
      },
      watch: this.watch,
    })
  }

  async look(times = 1): Promise<void> {
    for (let i = 0; i < times; i++) {
      this.#t.mock.timers.tick(5000)
      await turn()
    }
  }

  async #bind(host: string, port: number): Promise<BoundSocket> {
    await this.gate
    const code = this.refusing.get(host)
    if (code !== undefined) throw listenError('dns (UDP)', { host, port }, Object.assign(new Error(code), { code }))
    const endpoint = { host, port: port === 0 ? 40_000 + this.bound.length : port }
    this.bound.push(`${host} ${endpoint.port}`)
    return {
      endpoint,
      close: async () => void this.closed.push(host),
      drain: async (deadlineMs) => void this.drained.push(`${host} ${deadlineMs}`),
    }
  }
}

test('every address has a socket, all on the port that the first one got', async (t) => {
  const machine = new Machine(t)
  const listener = await machine.open(0)
  assert.deepEqual(machine.bound, ['192.0.2.1 40000', '192.0.2.2 40000'])
  assert.deepEqual(listener.endpoint, { host: '0.0.0.0', port: 40_000 })
})

test('an address that cannot be bound at start is an error, and none is bound then', async (t) => {
  const machine = new Machine(t)
  machine.refusing.set('192.0.2.2', 'EADDRINUSE')
  await assert.rejects(machine.open(), {
    code: 'ATLAS_LISTEN',
    message: 'Cannot listen for dns (UDP) on 192.0.2.2:53: the address is in use by another process',
  })
  assert.deepEqual(machine.closed, ['192.0.2.1'])
  machine.refusing.clear()
  await machine.look()
  assert.equal(machine.bound.length, 1)
})

for (const code of ['EADDRNOTAVAIL', 'EINVAL', 'ENODEV']) {
  test(`an address that is not there at start (${code}) is bound when it is`, async (t) => {
    const machine = new Machine(t)
    machine.refusing.set('192.0.2.1', code)
    const listener = await machine.open()
    assert.deepEqual(machine.told, ['failed 192.0.2.1'])
    machine.refusing.clear()
    await machine.look()
    assert.deepEqual(machine.bound, ['192.0.2.2 53', '192.0.2.1 53'])
    await listener.close()
  })
}

test('an address that appears is bound; where that fails it is tried again, told once, and disturbs no other', async (t) => {
  const machine = new Machine(t)
  await machine.open()
  machine.addresses = [...machine.addresses, '192.0.2.3', '192.0.2.4']
  machine.refusing.set('192.0.2.3', 'EADDRINUSE')
  await machine.look(3)
  assert.deepEqual(machine.told, ['failed 192.0.2.3', 'appeared 192.0.2.4'])
  machine.refusing.clear()
  await machine.look(2)
  assert.deepEqual(machine.told.splice(0), ['failed 192.0.2.3', 'appeared 192.0.2.4', 'appeared 192.0.2.3'])
  assert.deepEqual([machine.bound.length, machine.closed], [4, []])
  // a failure of another time is news
  machine.refusing.set('192.0.2.5', 'EADDRNOTAVAIL')
  for (const addresses of [['192.0.2.5'], [], ['192.0.2.5']]) {
    machine.addresses = addresses
    await machine.look()
  }
  assert.deepEqual(machine.told, ['failed 192.0.2.5', 'failed 192.0.2.5'])
})

test('an address that is gone keeps its socket for a minute, and for as long as it comes back', async (t) => {
  const machine = new Machine(t)
  await machine.open()
  const all = machine.addresses
  for (const addresses of [['192.0.2.1'], all, ['192.0.2.1']]) {
    machine.addresses = addresses
    await machine.look(11)
  }
  assert.deepEqual([machine.bound.length, machine.closed, machine.told], [2, [], []])
  await machine.look()
  assert.deepEqual([machine.closed, machine.told], [['192.0.2.2'], ['vanished 192.0.2.2']])
  machine.addresses = all
  await machine.look()
  assert.deepEqual(machine.bound.at(-1), '192.0.2.2 53')
})

test('there are so many sockets and no more; that some are left is told once', async (t) => {
  const machine = new Machine(t)
  const many = Array.from({ length: MAX_ADDRESSES + 2 }, (_, i) => `10.0.${i >> 8}.${i & 255}`)
  machine.addresses = many
  await machine.open()
  await machine.look()
  assert.equal(machine.bound.length, MAX_ADDRESSES)
  assert.deepEqual(machine.told, ['2 left'])
  machine.addresses = many.slice(1)
  await machine.look(12)
  assert.deepEqual(machine.told, ['2 left', 'vanished 10.0.0.0', `appeared 10.0.1.0`])
})

test('a list that cannot be read changes nothing, and is told once; at start it is an error', async (t) => {
  const machine = new Machine(t)
  machine.broken = new Error('EMFILE')
  await assert.rejects(machine.open(), { code: 'ATLAS_LISTEN', message: 'Cannot listen for dns (UDP) on 0.0.0.0:53: EMFILE' })
  machine.broken = null
  await machine.open()
  for (const broken of [new Error('EMFILE'), null, new Error('EMFILE')]) {
    machine.broken = broken
    await machine.look(20)
  }
  assert.deepEqual([machine.closed, machine.told], [[], ['failed 0.0.0.0', 'failed 0.0.0.0']])
})

test('what is named is left to its own listener, and bound when that has gone', async (t) => {
  const machine = new Machine(t)
  machine.named.add('192.0.2.1')
  await machine.open()
  assert.deepEqual(machine.bound, ['192.0.2.2 53'])
  machine.named.clear()
  await machine.look()
  assert.deepEqual(machine.bound, ['192.0.2.2 53', '192.0.2.1 53'])
})

test('bound anew, an address that fails keeps no other from being served', async (t) => {
  const machine = new Machine(t)
  const listener = await machine.open()
  machine.refusing.set('192.0.2.1', 'EADDRINUSE')
  assert.equal(machine.watch.find({ host: '0.0.0.0', port: 53 }), listener)
  await listener.rebind()
  assert.deepEqual(machine.closed, ['192.0.2.1', '192.0.2.2'])
  assert.deepEqual([machine.bound.slice(2), machine.told], [['192.0.2.2 53'], ['failed 192.0.2.1']])
  machine.refusing.clear()
  await machine.look()
  assert.deepEqual(machine.bound.splice(0).slice(3), ['192.0.2.1 53'])
  // a second failure is news, and what is gone is not missed
  machine.refusing.set('192.0.2.1', 'EADDRINUSE')
  machine.addresses = ['192.0.2.1']
  await machine.look()
  await listener.rebind()
  assert.deepEqual([machine.bound, machine.told.slice(2)], [[], ['failed 192.0.2.1']])
})

for (const end of ['close', 'drain'] as const) {
  test(`${end}() in the middle of a look leaves no socket and no timer behind`, async (t) => {
    const machine = new Machine(t)
    const stopped = t.mock.method(globalThis, 'clearInterval')
    const [listener, other] = [await machine.open(), await machine.open(54)]
    const gate = Promise.withResolvers<void>()
    machine.gate = gate.promise
    machine.addresses = [...machine.addresses, '192.0.2.3', '192.0.2.4']
    await machine.look()
    const ended = end === 'close' ? listener.close() : listener.drain(7)
    gate.resolve()
    await ended
    // the one that was being bound, and not the next
    const [first, second, third] = ['192.0.2.1', '192.0.2.2', '192.0.2.3']
    if (end === 'close') assert.deepEqual(machine.closed, [first, second, third])
    else assert.deepEqual(machine.drained, [`${first} 7`, `${second} 7`, `${third} 7`])
    assert.equal(machine.watch.find({ host: '0.0.0.0', port: 53 }), undefined)
    assert.equal(stopped.mock.callCount(), 0)
    await other.close()
    assert.equal(stopped.mock.callCount(), 1)
    const { reads } = machine
    await machine.look()
    assert.equal(machine.reads, reads)
  })
}
