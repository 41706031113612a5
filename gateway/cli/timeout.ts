import { OperationalError } from '../../dns/operational-error.ts'
import { parseDuration } from '../config/units.ts'

/** Milliseconds of what stands behind --timeout. Throws OperationalError ATLAS_USAGE. */
export function parseTimeout(text: string): number {
  const timeoutMs = parseDuration(text)
  if (timeoutMs !== null) return timeoutMs
  throw new OperationalError('ATLAS_USAGE', `expected --timeout like 30s or 5m: received ${JSON.stringify(text)}`)
}
