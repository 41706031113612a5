/**
 * A failure of start, configuration, certificates or shutdown: never of the data path, where failures are values (failure.ts).
 * The message has the form "Cannot X: reason: received Y"; `code` is stable and documented in docs/errors.md.
 */
export class OperationalError extends Error {
  readonly code: OperationalCode

  constructor(code: OperationalCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'OperationalError'
    this.code = code
  }
}

export type OperationalCode =
  | 'ATLAS_CONFIG' // the configuration cannot be read or is wrong
  | 'ATLAS_LISTEN' // an address cannot be bound
  | 'ATLAS_STATE' // the state directory cannot be used, or another process holds it
  | 'ATLAS_CERTIFICATE' // a certificate or key cannot be read, or they do not match; a CA cannot be shown that a name is ours
  | 'ATLAS_UPSTREAM' // an upstream is one of our own listeners
  | 'ATLAS_CACHE' // the snapshot of the cache cannot be written
  | 'ATLAS_QUERY' // the `query` command got no answer
  | 'ATLAS_RELOAD' // a configuration could not be applied to what is running
  | 'ATLAS_ADMIN' // a running gateway cannot be reached, or says no
  | 'ATLAS_USAGE' // a command was called wrongly

/** The text of whatever was thrown, for the tail of a message. */
export function reasonOf(error: unknown): string {
  // a host with several addresses fails once for each, and the whole has no message
  if (error instanceof AggregateError && error.message === '') return error.errors.map(reasonOf).join(', ')
  return error instanceof Error ? error.message : String(error)
}
