import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import test, { describe } from 'node:test'
import { Failure } from '../../dns/failure.ts'
import { formatEndpoint } from '../../net/address.ts'
import { SocksHandshake } from '../../upstream/socks.ts'
import { aRecord, hex, response } from '../harness/messages.ts'
import type { Handler } from '../harness/servers.ts'
import { type SocksServerOptions, socksServer } from '../harness/socks-server.ts'
import { until } from '../harness/until.ts'
import { startServer } from './servers.ts'
import { streamTo } from './stream-stand.ts'

const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))

describe('the SOCKS5 handshake', () => {
  const V4 = { host: '192.0.2.1', port: 853 }
  const asked = (target = V4): SocksHandshake => {
    const handshake = new SocksHandshake(target)
    handshake.push(hex('0500'))
    return handshake
  }

  test('offers no authentication, and asks for the address, never for a name', () => {
    for (const [host, address] of [
      ['192.0.2.1', '01 c0000201'],
      ['2001:db8::1', '04 20010db8000000000000000000000001'],
      ['fe80::1%eth0', '04 fe800000000000000000000000000001'],
    ] as const) {
      const handshake = new SocksHandshake({ host, port: 853 })
      assert.deepEqual(Buffer.from(handshake.greeting), hex('050100'))
      const step = handshake.push(hex('0500'))
      assert.ok(step.kind === 'send')
      assert.deepEqual(Buffer.from(step.bytes), hex(`050100 ${address} 0355`))
    }
  })

  test('takes a reply with any kind of address, in pieces of any size', () => {
    for (const reply of ['05000001 7f000001 1234', `05000004 ${'00'.repeat(16)} 1234`, `05000003 05 ${'61'.repeat(5)} 1234`]) {
      const whole = hex(reply)
      assert.equal(asked().push(whole).kind, 'ready')
      for (let cut = 1; cut < whole.length; cut++) {
        const handshake = asked()
        assert.equal(handshake.push(whole.subarray(0, cut)).kind, 'wait')
        assert.equal(handshake.push(whole.subarray(cut)).kind, 'ready')
      }
      const handshake = asked()
      assert.deepEqual(new Set(Array.from(whole.subarray(0, -1), (octet) => handshake.push(Buffer.of(octet)).kind)), new Set(['wait']))
    }
  })

  test('gives up what is no SOCKS5, and what says more than it was asked', () => {
    for (const [method, reply, reason] of [
      ['0400', '', 'it does not speak SOCKS5'],
      ['485454502f312e31', '', 'it does not speak SOCKS5'],
      ['05ff', '', 'it wants authentication'],
      ['0502', '', 'its choice of a method is malformed'],
      ['050005', '', 'its choice of a method is malformed'],
      ['05'.repeat(300), '', 'it sends more than a reply'],
      ['0500', '0400', 'it does not speak SOCKS5'],
      ['0500', '05000002 7f000001 1234', 'its reply is malformed'],
      ['0500', '05000001 7f000001 1234 00', 'its reply is malformed'],
      ['0500', '050a', 'reply code 10'],
    ] as const) {
      const handshake = new SocksHandshake(V4)
      const first = handshake.push(hex(method))
      const step = reply === '' ? first : handshake.push(hex(reply))
      assert.deepEqual(step, { kind: 'refused', reason })
    }
  })

  test('has a reason for each reply code', () => {
    const reasons = Array.from({ length: 8 }, (_, i) => {
      const step = asked().push(Buffer.of(5, i + 1))
      return step.kind === 'refused' ? step.reason : step.kind
    })
    assert.equal(new Set(reasons).size, 8)
    assert.deepEqual([reasons[1], reasons[4]], ['connection not allowed by ruleset', 'connection refused'])
  })
})

for (const protocol of ['tcp', 'tls'] as const) {
  describe(`a ${protocol} upstream behind a SOCKS5 proxy`, () => {
    test('is asked through it, whatever the pieces in which it speaks', async () => {
      for (const isSlow of [false, true]) {
        await using server = await startServer(protocol, answering)
        await using proxy = await socksServer({ isSlow })
        const { upstream, ask, dependencies } = streamTo(protocol, server.endpoint, { socks: proxy.endpoint })
        for (let i = 0; i < 3; i++) {
          const outcomes = await Promise.all(Array.from({ length: 50 }, () => ask()))
          assert.ok(outcomes.every(({ answer }) => answer !== null))
        }
        assert.deepEqual(proxy.targets, [server.endpoint])
        // what the server does later is not the proxy's doing
        for (const socket of server.connections) socket.end()
        await until(() => dependencies.meter.counts.connections === 0)
        assert.deepEqual(dependencies.trust.said, [])
        await upstream.close()
      }
    })

    test('is not asked when the proxy refuses, which is said once, and never asked past it', async () => {
      await using server = await startServer(protocol, answering)
      for (const [options, reason] of [
        [{ replyCode: 2 }, 'connection not allowed by ruleset'],
        [{ greeting: hex('05ff') }, 'it wants authentication'],
        [{ greeting: Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n') }, 'it does not speak SOCKS5'],
        [{ greeting: Buffer.alloc(0) }, 'it closed the connection'],
      ] as const satisfies readonly (readonly [SocksServerOptions, string])[]) {
        await using proxy = await socksServer(options)
        const { upstream, ask, forward, dependencies } = streamTo(protocol, server.endpoint, { socks: proxy.endpoint })
        for (let i = 0; i < 3; i++) {
          const { failure, ms } = await ask()
          assert.equal(failure, Failure.upstream_network)
          assert.ok(ms < 1000)
          forward(1000)
        }
        assert.deepEqual(dependencies.trust.said, [`the SOCKS5 proxy ${formatEndpoint(proxy.endpoint)}: ${reason}`])
        await upstream.close()
      }
      assert.equal(server.peers.size, 0)
    })

    test('is not asked while the proxy is away, and is again when it is back', async () => {
      await using server = await startServer(protocol, answering)
      const proxy = await socksServer()
      const { upstream, ask, forward, dependencies } = streamTo(protocol, server.endpoint, { socks: proxy.endpoint })
      await proxy[Symbol.asyncDispose]()
      assert.equal((await ask()).failure, Failure.upstream_network)
      forward(1000)
      assert.equal((await ask()).failure, Failure.upstream_network)
      await using back = await socksServer({ port: proxy.endpoint.port })
      forward(1000)
      assert.ok((await ask()).answer)
      assert.equal(back.targets.length, 1)
      assert.deepEqual(dependencies.trust.said, [`the SOCKS5 proxy ${formatEndpoint(proxy.endpoint)}: ECONNREFUSED`, ''])
      await upstream.close()
    })

    test('is given up with a proxy that is silent, in the time that a connection may take', async () => {
      let closed = 0
      const proxy = createServer((socket) => socket.on('data', () => {}).on('close', () => closed++)).listen(0, '127.0.0.1')
      await until(() => proxy.listening)
      const { port } = proxy.address() as { port: number }
      const { upstream, ask } = streamTo(protocol, { host: '127.0.0.1', port: 1 }, { connectMs: 200, socks: { host: '127.0.0.1', port } })
      const { failure, ms } = await ask()
      assert.equal(failure, Failure.upstream_network)
      assert.ok(ms >= 190 && ms < 1500, `${ms} ms`)
      await until(() => closed === 1)
      await upstream.close()
      proxy.close()
    })
  })
}
