import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createSocket, type RemoteInfo } from 'node:dgram'
import { once } from 'node:events'
import { mock } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Answer } from '../../dns/answer.ts'
import { Failure } from '../../dns/failure.ts'
import { readQuery } from '../../dns/query-reader.ts'
import { type Endpoint, PrefixSet } from '../../net/address.ts'
import { interfaceAddresses } from '../../net/interface-addresses.ts'
import { UdpTransport } from '../../transports/udp.ts'
import { prefixes } from './gateway.ts'
import { question } from './messages.ts'

/*
 * Run in a network namespace of its own, where addresses may come and go: asks a wildcard at each of them, from another one, and writes
 * from where the answers came, as JSON.
 */

const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] })
ip('link', 'set', 'lo', 'up')
for (const address of ['10.9.0.1/32', '10.9.0.2/32']) ip('addr', 'add', address, 'dev', 'lo')
// without duplicate address detection (RFC 4862 §5.4), during which nobody can bind them
for (const address of ['fd09::1/128', 'fd09::2/128', 'fe80::9/64']) ip('addr', 'add', address, 'dev', 'lo', 'nodad')

mock.timers.enable({ apis: ['setInterval'] })
const told: string[] = []
const transport = new UdpTransport({
  acceptor: {
    accept(query) {
      assert.equal(readQuery(query), null)
      query.reply.deliver(query, Answer.ofFailure(Failure.recursion_not_desired))
    },
  },
  meter: { connectionOpened: () => {}, connectionClosed: () => {}, handshake: () => {}, dropped: () => {} },
  addresses: interfaceAddresses,
  observer: {
    appeared: ({ host }) => told.push(`appeared ${host}`),
    vanished: ({ host }) => told.push(`vanished ${host}`),
    failed: ({ host }, error) => told.push(`failed ${host}: ${String(error)}`),
    crowded: () => {},
  },
})

async function look(times: number, news: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    mock.timers.tick(5000)
    await turn()
  }
  while (told.length < news) await turn()
}

/** From where the answer to a query from `from` comes. */
async function ask(from: string, { host, port }: Endpoint): Promise<string> {
  const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4' }).bind(0, from)
  await once(socket, 'listening')
  const answer = once(socket, 'message')
  // some kernels lose a datagram to an address that has just come
  let again: NodeJS.Timeout | undefined
  const send = () => {
    socket.send(question({ name: 'example.com' }), port, host)
    again = setTimeout(send, 200)
  }
  send()
  const [, { address }] = (await answer) as [Buffer, RemoteInfo]
  clearTimeout(again)
  socket.close()
  return address
}

const listen = ['0.0.0.0', '::'].map((host) => ({
  endpoint: { host, port: 5300 },
  access: new PrefixSet(prefixes('0.0.0.0/0', '::/0')),
  reusePort: false,
}))
await transport.reconfigure({ listen })
const sources: string[] = []
for (const [from, host] of [
  ['10.9.0.1', '10.9.0.2'],
  ['10.9.0.2', '127.0.0.1'],
  ['fd09::1', 'fd09::2'],
  ['fe80::9%lo', 'fe80::9%lo'],
] as const)
  sources.push(await ask(from, { host, port: 5300 }))
ip('addr', 'add', '10.9.0.3/32', 'dev', 'lo')
await look(1, 1)
sources.push(await ask('10.9.0.1', { host: '10.9.0.3', port: 5300 }))
// the same socket serves when the address is back within a minute
ip('addr', 'del', '10.9.0.3/32', 'dev', 'lo')
await look(11, 1)
ip('addr', 'add', '10.9.0.3/32', 'dev', 'lo')
sources.push(await ask('10.9.0.1', { host: '10.9.0.3', port: 5300 }))
await look(1, 1)
ip('addr', 'del', '10.9.0.3/32', 'dev', 'lo')
await look(12, 2)
await transport.close()
console.log(JSON.stringify({ sources, told }))
