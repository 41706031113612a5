import assert from 'node:assert/strict'
import type { NetworkInterfaceInfo } from 'node:os'
import test from 'node:test'
import { interfaceAddresses } from '../../net/interface-addresses.ts'

const BASE = { netmask: '', mac: '', internal: false, cidr: null }
const v4 = (address: string): NetworkInterfaceInfo => ({ ...BASE, address, family: 'IPv4' })
const v6 = (address: string, scopeid = 0): NetworkInterfaceInfo => ({ ...BASE, address, family: 'IPv6', scopeid })

const MACHINE = {
  lo: [v4('127.0.0.1'), v6('::1')],
  eth0: [v4('192.0.2.2'), v6('fe80::1', 2), v6('2001:db8:0::2')],
  gone: undefined,
  eth1: [v4('192.0.2.2'), v4('198.51.100.7'), v6('fe80::1', 3), v6('2001:db8::3')],
}

test('a wildcard stands for the addresses of its family, each once, loopback included', () => {
  assert.deepEqual(interfaceAddresses('IPv4', MACHINE), ['127.0.0.1', '192.0.2.2', '198.51.100.7'])
})

test('link-local addresses have the zone that they are bound with, and come last', () => {
  assert.deepEqual(interfaceAddresses('IPv6', MACHINE), ['::1', '2001:db8::2', '2001:db8::3', 'fe80::1%eth0', 'fe80::1%eth1'])
})

test('this machine has loopback', () => {
  assert.ok(interfaceAddresses('IPv4').includes('127.0.0.1'))
})
