import { isDeepStrictEqual } from 'node:util'
import { acmeSource } from '../../certs/acme/options.ts'
import { OperationalError } from '../../dns/operational-error.ts'
import type { Change, ReloadOutcome } from '../admin/control.ts'
import type { Config } from '../config/config.ts'
import { diffForms } from '../config/diff.ts'
import { formOf } from '../config/form.ts'
import { ConfigError, type LoadedConfig } from '../config/load.ts'
import type { IdentitySource } from './identities.ts'
import { withUsableListeners } from './listeners.ts'
import { isSame, type Prepared, prepare } from './prepare.ts'
import { listensOnQuic } from './quic.ts'
import { urlOf } from './upstream-choice.ts'

/** What the transaction works on. */
export interface Reloadable {
  /** What is served at the moment. */
  readonly prepared: Prepared
  /** The configuration as the gateway was started with it. */
  readonly started: Config
  /** Reads the configuration anew; throws ConfigError. */
  load(): LoadedConfig
  /** Throws OperationalError where it cannot be applied to what is running; touches nothing. */
  check(next: Prepared): void
  /** Serves as `next` says. Throws OperationalError when it cannot; then everything is as it was. */
  apply(next: Prepared): Promise<void>
}

/** Parse, check, compare, apply; what fails leaves the gateway as it was. */
export async function reload(gateway: Reloadable, { dryRun }: { dryRun: boolean }): Promise<ReloadOutcome> {
  let next: Prepared
  let plan: Plan
  try {
    const { config, warnings } = gateway.load()
    next = await prepare(inUse(gateway.prepared.config, withUsableListeners(config)), { isStart: false })
    gateway.check(next)
    plan = planOf(gateway, config, next, warnings)
  } catch (error) {
    return failureOf('refused', error)
  }
  if (dryRun) return { outcome: 'planned', ...plan }
  if (isSame(gateway.prepared, next)) return { outcome: 'unchanged', ...plan }
  try {
    await gateway.apply(next)
  } catch (error) {
    return failureOf('rolled-back', error)
  }
  return { outcome: 'applied', ...plan }
}

interface Plan {
  readonly changes: readonly Change[]
  readonly restartOnly: readonly Change[]
  readonly warnings: readonly string[]
}

/** Memory and threads are there from the start, and so are the lock and the keys of the state directory. */
const RESTART_ONLY: ReadonlySet<string> = new Set(['workers', 'cache.memory', 'state'])

/** `next` with what only a restart changes as it is. */
function inUse({ workers, state, cache }: Config, next: Config): Config {
  return { ...next, workers, state, cache: { ...next.cache, memory: cache.memory } }
}

function planOf({ prepared, started }: Reloadable, loaded: Config, next: Prepared, warnings: readonly string[]): Plan {
  const changes = [...diffForms(formOf(prepared.config), formOf(next.config)), ...fileChanges(prepared, next)]
  const restartOnly = diffForms(formOf(started), formOf(loaded)).filter(({ path }) => RESTART_ONLY.has(path))
  return { changes, restartOnly, warnings: [...warnings, ...next.warnings, ...consequences(prepared, next)] }
}

/** Files of the same name that say something else. */
function fileChanges(before: Prepared, next: Prepared): readonly Change[] {
  const [from, to] = [fingerprints(before.identities), fingerprints(next.identities)]
  const changes: Change[] = isDeepStrictEqual(from, to) ? [] : [{ path: 'certificates', from, to }]
  if (changes.length === 0 && !isDeepStrictEqual(chains(before), chains(next))) {
    changes.push({ path: 'certificates', from: 'the chain or the key', to: 'other content' })
  }
  const urls = ({ upstreams }: Prepared) => upstreams.targets.map(({ server }) => urlOf(server))
  if (next.config.upstreams === null && before.config.upstreams === null && !isDeepStrictEqual(urls(before), urls(next))) {
    changes.push({ path: '/etc/resolv.conf', from: urls(before), to: urls(next) })
  }
  const roots = ({ upstreams }: Prepared) => upstreams.targets.map((target) => target.roots)
  const sameServers = isDeepStrictEqual(formOf(before.config).upstreams, formOf(next.config).upstreams)
  if (sameServers && next.config.upstreams !== null && !isDeepStrictEqual(roots(before), roots(next))) {
    changes.push({ path: 'upstreams', from: 'CA files', to: 'other content' })
  }
  const sameFile = before.config.listen.admin?.tokenFile === next.config.listen.admin?.tokenFile
  if (sameFile && before.token !== next.token) changes.push({ path: 'listen.admin.tokenFile', from: 'the token', to: 'another one' })
  const sameCaFiles = isDeepStrictEqual([...before.clientCas.keys()], [...next.clientCas.keys()])
  if (sameCaFiles && !isDeepStrictEqual(before.clientCas, next.clientCas)) {
    changes.push({ path: 'listen', from: 'client CA files', to: 'other content' })
  }
  const sameTicketFile = before.config.tls.ticketKeyFile === next.config.tls.ticketKeyFile
  if (sameTicketFile && !isDeepStrictEqual(before.ticketKeys, next.ticketKeys)) {
    changes.push({ path: 'tls.ticketKeys', from: 'the keys', to: 'others' })
  }
  const wantsCookies = before.cookieSecrets.length > 0 && next.cookieSecrets.length > 0
  if (wantsCookies && !isDeepStrictEqual(before.cookieSecrets, next.cookieSecrets)) {
    changes.push({ path: 'edns.cookies', from: 'the secrets', to: 'others' })
  }
  return [...changes, ...holderChanges(before, next)]
}

/** Who has come, gone, or has another token. */
function holderChanges(before: Prepared, next: Prepared): readonly Change[] {
  const digests = ({ accessTokens }: Prepared) => new Map(accessTokens?.map(({ name, digest }) => [name, digest]))
  const [from, to] = [digests(before), digests(next)]
  const path = 'access.tokens'
  const gone = [...from.keys()].filter((name) => !to.has(name)).map((name) => ({ path, from: name, to: null }))
  const others = [...to].flatMap(([name, digest]): readonly Change[] => {
    if (!from.has(name)) return [{ path, from: null, to: name }]
    return from.get(name) === digest ? [] : [{ path, from: name, to: `${name}, with another token` }]
  })
  return [...gone, ...others]
}

function chains({ identities }: Prepared) {
  return identities.files.map(({ identity }) => [identity.chainPem, identity.keyPem])
}

function fingerprints({ files, local, acme }: IdentitySource): readonly string[] {
  const others = [...acme.map(({ directory }) => acmeSource(directory)), ...(local !== null && acme.length === 0 ? ['local CA'] : [])]
  return [...files.map(({ identity }) => identity.fingerprint256), ...others]
}

/** What a change brings with it that its author may not expect. */
function consequences(before: Prepared, next: Prepared): readonly string[] {
  const warnings: string[] = []
  if (next.reissuesCa && !isDeepStrictEqual(before.identities, next.identities))
    warnings.push('the names of the gateway change, so the local CA is made anew: clients must trust it again')
  const quic = ({ config: { limits } }: Prepared) => [limits.inFlightPerConnection, limits.idle.quicMs]
  if (listensOnQuic(before.config) && !isDeepStrictEqual(quic(before), quic(next))) {
    warnings.push(
      'limits.inFlightPerConnection and limits.idle.quic: QUIC listeners keep theirs until they are bound anew, as for another certificate',
    )
  }
  return warnings
}

function failureOf(outcome: 'refused' | 'rolled-back', error: unknown): ReloadOutcome {
  // not ours: a defect, which is not to pass for a wrong configuration
  if (!(error instanceof OperationalError)) throw error
  const problems = error instanceof ConfigError ? error.problems : []
  return { outcome, code: error.code, message: error.message, problems }
}
