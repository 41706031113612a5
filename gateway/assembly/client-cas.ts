import { X509Certificate } from 'node:crypto'
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

/** What the operator should know about them: who shows a certificate of a root that has expired is refused, and nobody told why. */
export function clientCaWarnings(clientCas: ClientCas, now = Date.now()): readonly string[] {
  return [...clientCas].flatMap(([file, { roots }]) =>
    roots
      .map((pem) => new X509Certificate(pem))
      .filter(({ validToDate }) => validToDate.getTime() < now)
      .map(({ subject, validToDate }) => {
        const name = subject.replaceAll('\n', ', ')
        return `${file}: the root ${name} has expired on ${validToDate.toISOString()}: clients with certificates of it are refused`
      }),
  )
}
