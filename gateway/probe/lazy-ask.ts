import type { ProbeClient, ProbeClientOptions } from './ask.ts'
import type { Ask } from './outcome.ts'

/** Asks with a client that is loaded for the first probe: nothing of it is needed to start a gateway. */
export function lazyAsk(options: ProbeClientOptions): Ask {
  let client: Promise<ProbeClient> | null = null
  return async (target, stop) => {
    client ??= import('./ask.ts').then(({ ProbeClient }) => new ProbeClient(options))
    return (await client).ask(target, stop)
  }
}
