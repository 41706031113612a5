import { OperationalError } from '../../../dns/operational-error.ts'
import type { Endpoint } from '../../../net/address.ts'
import type { Challenge, ChallengeSolver } from '../challenge.ts'
import { aliasTarget, challengeOwner, challengeValue } from './record.ts'
import type { ZoneRecords, ZoneTerms } from './zones.ts'

/** 32 digits of a digest, and a dot, have to fit before it. */
const MAX_ZONE_LENGTH = 220

export interface ResponderConfig {
  readonly listen: readonly Endpoint[]
  readonly zone: string
}

/** Answers for zones on addresses of its own; several solvers may have the same. */
export interface ZoneServer {
  /** Resolves once the zone is answered for. Throws OperationalError. */
  open(terms: ZoneTerms, listen: readonly Endpoint[]): Promise<ServedZone>
}

export interface ServedZone extends Omit<ZoneRecords, 'close'> {
  close(): Promise<void>
}

/** The gateway answers for a zone itself, to which the name that the CA asks for is an alias. Throws OperationalError. */
export async function openResponderSolver(
  { listen, zone }: ResponderConfig,
  { server, nameServer }: { server: ZoneServer; nameServer: () => string },
): Promise<ChallengeSolver> {
  refuseLongZone(zone)
  return new ResponderSolver(zone, await server.open({ zone, nameServer }, listen))
}

/** Throws OperationalError. */
export function refuseLongZone(zone: string): void {
  if (zone.length > MAX_ZONE_LENGTH)
    throw new OperationalError('ATLAS_CERTIFICATE', `Cannot answer for a zone: expected at most ${MAX_ZONE_LENGTH} characters: ${zone}`)
}

class ResponderSolver implements ChallengeSolver {
  readonly type = 'dns-01'
  readonly #zone: string
  readonly #served: ServedZone

  constructor(zone: string, served: ServedZone) {
    this.#zone = zone
    this.#served = served
  }

  async present(challenge: Challenge): Promise<void> {
    challengeOwner(challenge.identifier)
    this.#served.add(this.#nameOf(challenge), challengeValue(challenge))
  }

  async remove(challenge: Challenge): Promise<void> {
    this.#served.remove(this.#nameOf(challenge), challengeValue(challenge))
  }

  async close(): Promise<void> {
    await this.#served.close()
  }

  #nameOf({ identifier }: Challenge): string {
    return aliasTarget(identifier.value, this.#zone)
  }
}
