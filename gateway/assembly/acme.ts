import type { ChallengeSolver } from '../../certs/acme/challenge.ts'
import { AcmeIdentities } from '../../certs/acme/identities.ts'
import { SYSTEM_CLOCK } from '../../certs/acme/options.ts'
import type { CertificateObserver } from '../../certs/provider.ts'
import type { Storage } from '../../certs/storage.ts'
import { VERSION } from '../cli/version.ts'
import type { AcmeConfig } from '../config/config.ts'

/** Who shows a CA that the names are ours, as the entry says; for this entry alone. */
export type SolverFactory = (config: AcmeConfig) => Promise<ChallengeSolver>

export interface AcmeParts {
  /** One for the process: by it, CAs see one order at a time. */
  readonly storage: Storage
  readonly observer: CertificateObserver
  readonly solverOf: SolverFactory
}

/** The certificates of an entry of `tls.acme`, with what is stored of them. */
export async function openAcme(config: AcmeConfig, { storage, observer, solverOf }: AcmeParts): Promise<AcmeIdentities> {
  const solver = await solverOf(config)
  return AcmeIdentities.open(config, { storage, solver, observer, userAgent: `atlas-dns/${VERSION}`, clock: SYSTEM_CLOCK })
}
