import { loadClientCa } from '../../certs/client-ca.ts'
import type { ClientCa } from '../../net/tls.ts'
import type { Config } from '../config/config.ts'

/** By file. */
export type ClientCas = ReadonlyMap<string, ClientCa>

/** What the files of `clientCa` say. Throws OperationalError where one cannot be used. */
export function readClientCas({ listen }: Pick<Config, 'listen'>): ClientCas {
  const found = new Map<string, ClientCa>()
  for (const { clientCa } of [...listen.doh, ...listen.dot])
    if (clientCa !== null && !found.has(clientCa.file)) found.set(clientCa.file, loadClientCa(clientCa))
  return found
}
