import { loadIdentityFiles } from '../../certs/files.ts'
import type { Config } from '../config/config.ts'
import { listenWarnings } from './listeners.ts'
import { selectUpstreams } from './upstream-choice.ts'

/** Everything about a configuration that can be found wrong without opening a socket or writing a file. Returns warnings, throws OperationalError. */
export function checkGateway(config: Config): readonly string[] {
  for (const certificate of config.tls.certificates) loadIdentityFiles(certificate)
  return [...selectUpstreams(config).warnings, ...listenWarnings(config)]
}
