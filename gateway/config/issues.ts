import type * as z from 'zod'
import { closest } from './closest.ts'
import { keysAt } from './json-schema.ts'
import { keyOriginOf, type Located, nodeAt, originOf, type Path, plainOf } from './located.ts'
import { type ConfigProblem, pathText, show } from './problem.ts'

type Issue = z.core.$ZodIssue

/** Every issue of zod as a problem with its place in `tree`. */
export function problemsOf(issues: readonly Issue[], tree: Located): readonly ConfigProblem[] {
  return issues.flatMap((issue) => problemsAt(issue, { tree, path: issue.path }))
}

interface Place {
  readonly tree: Located
  readonly path: Path
}

function problemsAt(issue: Issue, { tree, path }: Place): readonly ConfigProblem[] {
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey(key, { tree, path }))
  const alternative = issue.code === 'invalid_union' ? meantAlternative(issue) : null
  if (alternative !== null) return alternative.flatMap((inner) => problemsAt(inner, { tree, path: [...path, ...inner.path] }))
  const clash = noteOf(issue, 'clashesWith')
  if (isPath(clash)) return [clashOf(issue, { tree, paths: [path, clash] })]
  return [
    { where: originOf(tree, path).where, path: pathText(path), message: `${issue.message}: received ${receivedBy(issue, { tree, path })}` },
  ]
}

function unknownKey(key: string, { tree, path }: Place): ConfigProblem {
  const allowed = keysAt(path)
  const guess = closest(key, allowed)
  const expected = guess === null ? `expected one of ${allowed.join(', ')}` : `did you mean ${JSON.stringify(guess)}?`
  const at = [...path, key]
  return { where: keyOriginOf(tree, at).where, path: pathText(at), message: `unknown key ${show(key)}: ${expected}` }
}

/** The form the operator had in mind: one whose outer type fits what was received. */
function meantAlternative({ errors }: z.core.$ZodIssueInvalidUnion): readonly Issue[] | null {
  const isOuter = ({ code, path }: Issue): boolean => path.length === 0 && (code === 'invalid_type' || code === 'invalid_value')
  return errors.find((issues) => !issues.some(isOuter)) ?? null
}

/** Of two settings that do not go together, the one that was written is to blame, not the default. */
function clashOf(issue: Issue, { tree, paths: [first, second] }: { tree: Located; paths: readonly [Path, Path] }): ConfigProblem {
  const [path, other] = nodeAt(tree, first) === null ? [second, first] : [first, second]
  const note = nodeAt(tree, other) === null ? ' by default' : ''
  const received = `${receivedBy(issue, { tree, path })}, which ${pathText(other)} has${note}`
  return { where: originOf(tree, path).where, path: pathText(path), message: `${issue.message}: received ${received}` }
}

function receivedBy(issue: Issue, { tree, path }: Place): string {
  const received = noteOf(issue, 'received')
  if (typeof received === 'string') return received
  const node = nodeAt(tree, path)
  return show(node === null ? undefined : plainOf(node))
}

/** What our own refinements note beside their message (fields.ts, schema.ts). */
function noteOf(issue: Issue, key: 'received' | 'clashesWith'): unknown {
  return issue.code === 'custom' ? issue.params?.[key] : undefined
}

function isPath(value: unknown): value is Path {
  return Array.isArray(value)
}
