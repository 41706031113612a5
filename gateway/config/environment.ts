import { resolve } from 'node:path'
import { closest } from './closest.ts'
import { type Leaf, textLeaves } from './json-schema.ts'
import type { Located, Origin } from './located.ts'
import { type ConfigProblem, pathText, show } from './problem.ts'
import { readTextFile, type TextFile } from './text-file.ts'

const PREFIX = 'ATLAS_'
const FILE_SUFFIX = '_FILE'

export interface EnvironmentSettings {
  readonly settings: readonly { readonly path: readonly string[]; readonly leaf: Located }[]
  readonly problems: readonly ConfigProblem[]
  /** Variables that look like ours and are not. */
  readonly warnings: readonly string[]
}

/**
 * The settings among the variables: ATLAS_ and the path in capitals, underscores at will. With _FILE at the end the variable
 * names a file, relative to `cwd`, that has the value.
 */
export function readEnvironment(env: NodeJS.ProcessEnv, { cwd }: { cwd: string }): EnvironmentSettings {
  const leaves = new Map(textLeaves().map((leaf) => [leaf.path.join('').toUpperCase(), leaf]))
  const settings: EnvironmentSettings['settings'][number][] = []
  const problems: ConfigProblem[] = []
  const warnings: string[] = []
  const setBy = new Map<Leaf, string>()
  for (const name of Object.keys(env).toSorted()) {
    if (!name.startsWith(PREFIX)) continue
    const target = targetOf(name, leaves)
    if (target === null) {
      warnings.push(unknownVariable(name, [...leaves.values()]))
      continue
    }
    const { leaf, fromFile } = target
    const value = env[name] ?? ''
    const earlier = setBy.get(leaf)
    const content = earlier !== undefined ? alsoSetBy(earlier) : fromFile ? readValueFile(value, cwd) : { text: value }
    setBy.set(leaf, name)
    if (content.text === null) problems.push({ where: name, path: pathText(leaf.path), message: content.reason })
    else settings.push({ path: leaf.path, leaf: located(leaf.parse(content.text), { where: name, directory: cwd }) })
  }
  return { settings, problems, warnings }
}

function targetOf(name: string, leaves: ReadonlyMap<string, Leaf>): { leaf: Leaf; fromFile: boolean } | null {
  const find = (words: string): Leaf | undefined => leaves.get(words.replaceAll('_', ''))
  const words = name.slice(PREFIX.length)
  const direct = find(words)
  if (direct !== undefined) return { leaf: direct, fromFile: false }
  const leaf = words.endsWith(FILE_SUFFIX) ? find(words.slice(0, -FILE_SUFFIX.length)) : undefined
  return leaf === undefined ? null : { leaf, fromFile: true }
}

function alsoSetBy(name: string): TextFile {
  return { text: null, reason: `expected one variable to set it: received ${name} too`, before: null }
}

function readValueFile(path: string, cwd: string): TextFile {
  const content = readTextFile(resolve(cwd, path))
  // most editors and `echo` end a file with a newline that is no part of the value
  if (content.text !== null) return { text: content.text.replace(/\r?\n$/, '') }
  return { ...content, reason: `${content.reason}: ${show(path)}` }
}

/** No error: a Kubernetes Service named atlas puts ATLAS_PORT and the like into every pod. */
function unknownVariable(name: string, leaves: readonly Leaf[]): string {
  const guess = closest(name, leaves.map(variableOf))
  return `${name} is ignored: no setting has that name${guess === null ? '' : `; did you mean ${guess}?`}`
}

/** ATLAS_TLS_MIN_VERSION for tls.minVersion */
function variableOf({ path }: Leaf): string {
  const words = path.map((key) => key.replaceAll(/[A-Z]/g, (capital) => `_${capital}`))
  return `${PREFIX}${words.join('_').toUpperCase()}`
}

function located(value: ReturnType<Leaf['parse']>, origin: Origin): Located {
  if (typeof value !== 'object') return { kind: 'scalar', origin, value }
  return { kind: 'list', origin, items: value.map((item) => ({ kind: 'scalar', origin, value: item })) }
}
