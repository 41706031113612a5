import assert from 'node:assert/strict'
import test, { describe } from 'node:test'
import { answer, ask, asked, from, labOf, NAME, option } from '../harness/client-subnet.ts'
import { aRecord, client, hex } from '../harness/messages.ts'

describe('what is said of a network', () => {
  test('is nothing, and nothing is answered, with mode off', () => {
    const lab = labOf('off')
    for (const prefix of ['192.0.2.0/24', '0.0.0.0/0', null]) ask(lab, prefix, from('198.51.100.7'))
    assert.deepEqual(asked(lab), ['none'])
  })

  test('is what clients say of themselves, with forward', () => {
    const lab = labOf('forward')
    for (const prefix of ['192.0.2.77/32', '192.0.0.0/10', '0.0.0.0/0', '10.0.0.0/24', null]) ask(lab, prefix, from('198.51.100.7'))
    assert.deepEqual(asked(lab), ['1:c0000200/24', '1:c0000000/10', '1:0/0', 'none'])
  })

  test('is besides the network of an address, with add', () => {
    const lab = labOf('add')
    ask(lab, null, from('198.51.100.7'))
    ask(lab, null, from('198.51.100.8'))
    ask(lab, null, from('2a00:1:2:300::1'))
    ask(lab, '0.0.0.0/0', from('198.51.100.7'))
    ask(lab, '192.0.2.0/23', from('198.51.100.7'))
    for (const address of ['10.0.0.5', '127.0.0.1', '169.254.1.1', '::1', 'fe80::1', 'fd00::1']) ask(lab, null, from(address))
    assert.deepEqual(asked(lab), ['1:c6336400/24', '2:2a000001/56', '1:0/0', '1:c0000200/23', 'none'])
  })

  test('is the same for every type (RFC 9460 §4.4)', () => {
    const lab = labOf('add')
    for (const type of [1, 28, 64, 65, 16]) lab.ask({ name: NAME, type }, from('198.51.100.7'))
    assert.deepEqual(new Set(asked(lab)), new Set(['1:c6336400/24']))
  })
})

describe('the option of an answer (RFC 7871 §7.2.2)', () => {
  test('is the client’s own with the SCOPE of the answer, from memory too', () => {
    const lab = labOf('add')
    const first = ask(lab, '192.0.2.77/32')
    answer(lab, '10.0.0.1', { prefix: '192.0.2.0/24', scope: 22 })
    for (const reply of [first, ask(lab, '192.0.2.77/32')]) assert.ok(reply.wire.includes(hex(option('192.0.2.77/32', 22))))
  })

  test('has SCOPE 0 for everybody, and where no address was given', () => {
    const lab = labOf('forward')
    const first = ask(lab, '0.0.0.0/0')
    answer(lab, '10.0.0.1', { prefix: '198.51.100.0/24', scope: 24 })
    for (const reply of [first, ask(lab, '::/0')]) {
      assert.match(reply.wire.toString('hex'), /000800040(001|002)0000/)
    }
  })

  test('is for the client’s network alone where that was not sent on', () => {
    const lab = labOf('forward')
    const reply = ask(lab, '10.1.2.0/24')
    answer(lab, '10.0.0.1')
    assert.ok(reply.wire.includes(hex(option('10.1.2.0/24', 24))))
  })

  test('counts in what a datagram can take', () => {
    const lab = labOf('forward')
    const question = { name: NAME, udpSize: 512, opt: option(`2a00::/128`) }
    const full = lab.ask(question, client('udp'))
    const fitting = (count: number) => lab.answer({ answers: Array.from({ length: count }, (_, i) => aRecord(`192.0.2.${i}`, { ttl: 0 })) })
    fitting(28)
    const over = lab.ask(question, client('udp'))
    fitting(29)
    assert.deepEqual([full.wire.length, full.wire.readUInt16BE(6), full.wire.readUInt16BE(2) & 0x0200], [512, 28, 0])
    assert.ok(over.wire.length < 512)
    assert.equal(over.wire.readUInt16BE(2) & 0x0200, 0x0200)
  })

  test('is missing where the client sent none', () => {
    const lab = labOf('add')
    const first = ask(lab, null, from('198.51.100.7'))
    answer(lab, '10.0.0.1', { prefix: '198.51.100.0/24', scope: 24 })
    for (const reply of [first, ask(lab, null, from('198.51.100.9'))]) assert.ok(!reply.wire.includes(hex('00080007')))
  })
})
