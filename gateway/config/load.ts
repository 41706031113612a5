import { completeConfig } from './complete.ts'
import type { Config } from './config.ts'
import { readEnvironment } from './environment.ts'
import { problemsOf } from './issues.ts'
import { type Located, overlay, plainOf } from './located.ts'
import { ConfigError } from './problem.ts'
import { configSchema } from './schema.ts'
import { readYamlFile } from './yaml-file.ts'

export { configJsonSchema } from './json-schema.ts'
export { ConfigError, type ConfigProblem } from './problem.ts'

export interface ConfigSource {
  /** The YAML file as the operator named it; null for none: the defaults and the environment. */
  readonly file: string | null
  readonly env: NodeJS.ProcessEnv
  /** What relative paths are relative to that do not stand in the file; absolute. */
  readonly cwd: string
}

export interface LoadedConfig {
  readonly config: Config
  /** What the operator should know and that stops nothing: variables that look like ours and are not. */
  readonly warnings: readonly string[]
}

/**
 * The configuration: the file, the environment over it, the defaults under it. Reads the file and those that ATLAS_…_FILE
 * variables name, nothing else: certificates are not opened here.
 *
 * @throws {ConfigError} with everything that is wrong and where.
 */
export function loadConfig({ file, env, cwd }: ConfigSource): LoadedConfig {
  const nothing: Located = { kind: 'scalar', origin: { where: 'default', directory: cwd }, value: null }
  const document = file === null ? { tree: nothing, problems: [] } : readYamlFile(file, { cwd })
  const environment = readEnvironment(env, { cwd })
  const problems = [...document.problems, ...environment.problems]
  // without the file the rest would be judged against defaults that the operator may have changed
  if (document.tree === null) throw new ConfigError(problems)
  const tree = environment.settings.reduce(overlay, document.tree)
  const parsed = configSchema.safeParse(plainOf(tree))
  if (!parsed.success) problems.push(...problemsOf(parsed.error.issues, tree))
  if (!parsed.success || problems.length > 0) throw new ConfigError(problems)
  return { config: completeConfig(parsed.data, { written: tree, cwd }), warnings: environment.warnings }
}
