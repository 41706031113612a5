import type { DnsClient } from '../../certs/acme/dns-01/client.ts'
import { askOverTcp } from '../client/stream.ts'
import { askOverUdp } from '../client/udp.ts'

/** Asks as the `query` command does. */
export const dnsClient: DnsClient = {
  udp: async (server, query, signal) => (await askOverUdp({ server, query, signal })).message,
  tcp: async (server, query, signal) => (await askOverTcp({ server, query, signal })).message,
}
