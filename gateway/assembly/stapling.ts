import type { Logger } from 'pino'
import type { Identity } from '../../certs/identity.ts'
import { Stapler } from '../../certs/ocsp/stapler.ts'
import type { Events } from '../events.ts'

export interface StaplingDependencies {
  readonly log: Logger
  readonly events: Events
  /** There are other staples. */
  readonly onChanged: () => void
}

/** The staples of the certificates in use, and whoever wants to know how it is with them. */
export function openStapler({ log, events, onChanged }: StaplingDependencies): Stapler {
  const name = ({ names, addresses }: Identity) => names[0] ?? addresses[0] ?? null
  return new Stapler({
    changed: onChanged,
    failed: ({ identity, message, isRefused }) => {
      const facts = { name: name(identity), reason: message }
      if (!isRefused) return log.warn(facts, NOT_STAPLED)
      log.error(facts, REFUSED)
      events.emit('certificate', REFUSED, facts)
    },
    revoked: (identity, revokedAt) => {
      const facts = { name: name(identity), fingerprint: identity.fingerprint256, revokedAt: new Date(revokedAt).toISOString() }
      log.error(facts, REVOKED)
      events.emit('certificate', REVOKED, facts)
    },
  })
}

const NOT_STAPLED = 'there is no new OCSP response for a certificate: the present one, if any, is shown as long as it is good'
const REFUSED = 'a certificate wants an OCSP response beside it, and there is none: clients refuse it'
const REVOKED = 'the CA has revoked a certificate: clients refuse it, another one is needed'
