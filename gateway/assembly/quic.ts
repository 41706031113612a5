import { join } from 'node:path'
import type { Logger } from 'pino'
import type { EndpointDependencies } from '../../net/quic/endpoint.ts'
import { createQuicEngine } from '../../net/quic/load.ts'
import type { QuicEngine } from '../../net/quic.ts'
import type { Config } from '../config/config.ts'
import { servesHttp3 } from './listeners.ts'

/** Where the library puts keys for a moment. */
export function quicDirectory(config: Config): string {
  return join(config.state, 'quic')
}

export function listensOnQuic(config: Config): boolean {
  return config.listen.doq.length > 0 || servesHttp3(config)
}

/**
 * QUIC for asking upstreams, in whatever thread: made when it is first needed, which is while a question is on its way, so that it
 * fails with a log line and null.
 */
export function lazyQuic(config: Config, log: Logger, dependencies: EndpointDependencies): () => QuicEngine | null {
  let made: QuicEngine | null | undefined
  return () => {
    if (made === undefined) made = clientQuic(config, log, dependencies)
    return made
  }
}

function clientQuic(config: Config, log: Logger, dependencies: EndpointDependencies): QuicEngine | null {
  try {
    const engine = createQuicEngine(quicDirectory(config), dependencies)
    if (!('unavailable' in engine)) return engine
    log.warn({ reason: engine.unavailable }, 'no QUIC on this machine: upstreams cannot be asked over QUIC or HTTP/3')
  } catch (err) {
    log.error({ err }, 'upstreams cannot be asked over QUIC or HTTP/3')
  }
  return null
}

/** QUIC, where this machine has it. */
export function openQuic(config: Config, log: Logger, dependencies: EndpointDependencies): QuicEngine | null {
  const engine = createQuicEngine(quicDirectory(config), dependencies)
  if ('unavailable' in engine) {
    log.warn({ reason: engine.unavailable }, 'no QUIC on this machine: DNS over QUIC and HTTP/3 are off, everything else works')
    return null
  }
  if (servesHttp3(config) && !engine.opensUnidirectional) log.warn('HTTP/3 is off: the QUIC library lacks its native event interface')
  return engine
}
