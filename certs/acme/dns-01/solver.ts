import type { OperationalError } from '../../../dns/operational-error.ts'
import type { Endpoint } from '../../../net/address.ts'
import type { Clock } from '../../../net/clock.ts'
import type { ChallengeSolver } from '../challenge.ts'
import { type DnsClient, directly, type Source } from './client.ts'
import { Directory } from './directory.ts'
import { type HookConfig, HookWriter } from './hook.ts'
import { Propagation, type PropagationConfig } from './propagation.ts'
import { RecordSolver, type RecordWriter } from './record-solver.ts'
import { openResponderSolver, type ResponderConfig, type ZoneServer } from './responder-solver.ts'
import { type UpdateConfig, UpdateServer, UpdateWriter } from './update.ts'

/** How the TXT record of dns-01 (RFC 8555 §8.4) is made. */
export type DnsSolverConfig =
  | ({ readonly kind: 'hook' } & HookConfig & PropagationConfig)
  | ({ readonly kind: 'update' } & UpdateConfig & PropagationConfig)
  | ({ readonly kind: 'responder' } & ResponderConfig)

export interface DnsSolverDependencies {
  readonly client: DnsClient
  /** Those of the machine; none is the gateway itself, which may not serve yet (conformance ACME-16). */
  readonly resolvers: () => readonly Endpoint[]
  readonly zoneServer: ZoneServer
  /** The present name of this machine in a delegation. */
  readonly nameServer: () => string
  readonly clock: Clock
  /** Resolves after `ms`; rejects when the signal aborts. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>
  /** Hears of a record that could not be removed. */
  readonly onLeftBehind: (error: OperationalError) => void
}

/** Throws OperationalError. */
export async function createDnsSolver(config: DnsSolverConfig, dependencies: DnsSolverDependencies): Promise<ChallengeSolver> {
  switch (config.kind) {
    case 'hook':
      return createHookSolver(config, dependencies)
    case 'update':
      return createUpdateSolver(config, dependencies)
    case 'responder':
      return openResponderSolver(config, { server: dependencies.zoneServer, nameServer: dependencies.nameServer })
  }
}

export function createHookSolver(config: HookConfig & PropagationConfig, dependencies: DnsSolverDependencies): ChallengeSolver {
  return recordSolver(new HookWriter(config), { config, first: [] }, dependencies)
}

export function createUpdateSolver(config: UpdateConfig & PropagationConfig, dependencies: DnsSolverDependencies): ChallengeSolver {
  const server = new UpdateServer(config, dependencies.client)
  return recordSolver(new UpdateWriter(config, server), { config, first: [server] }, dependencies)
}

function recordSolver(
  writer: RecordWriter,
  { config, first }: { config: PropagationConfig; first: readonly Source[] },
  { client, resolvers, clock, pause, onLeftBehind }: DnsSolverDependencies,
): ChallengeSolver {
  // those who have the zone know best; resolvers know the rest
  const sources = () => [...first, ...[...config.servers, ...resolvers()].map((server) => directly(server, client))]
  const directory = new Directory(sources)
  const propagation = new Propagation(config, { client, directory, clock, pause })
  return new RecordSolver({ writer, directory, propagation, onLeftBehind })
}
