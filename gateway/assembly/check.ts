import { loadIdentityFiles } from '../../certs/files.ts'
import { readResolvConf } from '../../upstream/resolv-conf.ts'
import type { Config } from '../config/config.ts'
import { listenWarnings } from './listeners.ts'
import { chooseUpstreams, targetOf } from './upstream-choice.ts'

/** Everything about a configuration that can be found wrong without opening a socket or writing a file. Returns warnings, throws OperationalError. */
export function checkGateway(config: Config): readonly string[] {
  for (const certificate of config.tls.certificates) loadIdentityFiles(certificate)
  const { servers, warnings } = chooseUpstreams(config, readResolvConf())
  for (const server of servers) targetOf(server)
  return [...warnings, ...listenWarnings(config)]
}
