import { createHash } from 'node:crypto'
import type { Challenge } from '../../../../certs/acme/challenge.ts'
import type { DnsSolverDependencies } from '../../../../certs/acme/dns-01/solver.ts'
import { dnsClient } from '../../../../gateway/assembly/dns-client.ts'

export function challengeFor(value: string, token = 'token'): Challenge {
  return { identifier: { type: 'dns', value }, token, keyAuthorization: `${token}.thumbprint` }
}

/** RFC 8555 §8.4, in other words. */
export function txtOf({ keyAuthorization }: Challenge): string {
  return Buffer.from(createHash('sha256').update(keyAuthorization, 'utf8').digest()).toString('base64url')
}

/** Time passes only in pauses, of which `pauses` are noted. */
export function dependencies(rest: Partial<DnsSolverDependencies> = {}): DnsSolverDependencies & {
  readonly pauses: number[]
  readonly left: string[]
} {
  const pauses: number[] = []
  const left: string[] = []
  let now = 0
  return {
    client: dnsClient,
    resolvers: () => [],
    zoneServer: { open: () => Promise.reject(new Error('no responder here')) },
    nameServer: () => 'gateway.test',
    clock: () => now,
    pause: async (ms, signal) => {
      signal.throwIfAborted()
      pauses.push(ms)
      now += ms
    },
    onLeftBehind: (error) => left.push(error.message),
    pauses,
    left,
    ...rest,
  }
}
