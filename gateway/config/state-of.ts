import { completeConfig } from './complete.ts'
import { readEnvironment } from './environment.ts'
import { problemsOf } from './issues.ts'
import type { ConfigSource } from './load.ts'
import { type Located, nodeAt, overlay, plainOf } from './located.ts'
import { ConfigError } from './problem.ts'
import { configSchema } from './schema.ts'
import { readYamlFile } from './yaml-file.ts'

/**
 * The state directory, absolute, however wrong the other settings are: through it a running gateway is found, which then says
 * itself what is wrong with them.
 *
 * @throws {ConfigError} with what is wrong with `state`, or with everything that keeps the file from being read.
 */
export function stateDirectoryOf({ file, env, cwd }: ConfigSource): string {
  const nothing: Located = { kind: 'scalar', origin: { where: 'default', directory: cwd }, value: null }
  const document = file === null ? { tree: nothing, problems: [] } : readYamlFile(file, { cwd })
  if (document.tree === null) throw new ConfigError(document.problems)
  const environment = readEnvironment(env, { cwd })
  const tree = environment.settings.reduce(overlay, document.tree)
  const problems = [...document.problems, ...environment.problems].filter(({ path }) => path === 'state')
  const parsed = configSchema.safeParse(stateAlone(tree))
  if (!parsed.success) problems.push(...problemsOf(parsed.error.issues, tree))
  if (!parsed.success || problems.length > 0) throw new ConfigError(problems)
  return completeConfig(parsed.data, { written: tree, cwd }).state
}

/** The form with no other setting in it, so that there is nothing else to be wrong. */
function stateAlone(tree: Located): unknown {
  if (tree.kind !== 'map') return plainOf(tree)
  const state = nodeAt(tree, ['state'])
  return state === null ? {} : { state: plainOf(state) }
}
