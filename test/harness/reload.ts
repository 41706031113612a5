import assert from 'node:assert/strict'
import type { Change, ReloadOutcome } from '../../gateway/admin/control.ts'
import type { Config, ListenConfig } from '../../gateway/config/config.ts'
import type { Endpoint } from '../../net/address.ts'
import { CLIENTS } from './clients.ts'
import { type TestGateway, testConfig } from './gateway.ts'
import { aRecord, question, response } from './messages.ts'
import type { Handler } from './servers.ts'

export const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))
let asked = 0

export function ask(prefix = 'q'): Buffer {
  return question({ name: `${prefix}${asked++}.example.com`, opt: '' })
}

export function at(endpoint: Endpoint): ListenConfig {
  return { endpoint, access: null, proxyProtocol: null, clientCa: null, cleartext: false, byDefault: false }
}

export const ANYWHERE = at({ host: '127.0.0.1', port: 0 })

export function listen(changes: Partial<Config['listen']>): Pick<Config, 'listen'> {
  return { listen: { ...testConfig([]).listen, ...changes } }
}

export async function everyClientIsAnswered(gateway: TestGateway): Promise<void> {
  for (const client of CLIENTS) assert.equal((await client.send(gateway, ask())).kind, 'answer', client.name)
}

export function changesOf(outcome: ReloadOutcome): readonly Change[] {
  assert.ok('changes' in outcome, JSON.stringify(outcome))
  return outcome.changes
}
