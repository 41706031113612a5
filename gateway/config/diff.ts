import { isDeepStrictEqual } from 'node:util'
import type { Form, FormValue } from './form.ts'

/** One setting that differs; null: there is none on that side. A list has one change for each entry that comes or goes. */
export interface FormChange {
  /** "timeouts.query" */
  readonly path: string
  readonly from: FormValue | null
  readonly to: FormValue | null
}

/** What leads from one form to the other, in the order of the forms. */
export function diffForms(from: Form, to: Form): readonly FormChange[] {
  return diffMaps(from, to, '')
}

function diffMaps(from: Form, to: Form, path: string): readonly FormChange[] {
  const keys = new Set([...Object.keys(from), ...Object.keys(to)])
  return [...keys].flatMap((key) => diffValues(from[key] ?? null, to[key] ?? null, path === '' ? key : `${path}.${key}`))
}

function diffValues(from: FormValue | null, to: FormValue | null, path: string): readonly FormChange[] {
  if (isDeepStrictEqual(from, to)) return []
  if (isList(from) && isList(to)) return diffLists(from, to, path)
  return isMap(from) && isMap(to) ? diffMaps(from, to, path) : [{ path, from, to }]
}

/** By entries; where only their order differs, the list as a whole. */
function diffLists(from: readonly FormValue[], to: readonly FormValue[], path: string): readonly FormChange[] {
  const changes = [
    ...without(from, to).map((entry) => ({ path, from: entry, to: null })),
    ...without(to, from).map((entry) => ({ path, from: null, to: entry })),
  ]
  return changes.length > 0 ? changes : [{ path, from, to }]
}

/** The entries of one list that the other does not have, or not as often. */
function without(list: readonly FormValue[], other: readonly FormValue[]): readonly FormValue[] {
  const left = new Map<string, number>()
  for (const entry of other) left.set(JSON.stringify(entry), (left.get(JSON.stringify(entry)) ?? 0) + 1)
  return list.filter((entry) => {
    const times = left.get(JSON.stringify(entry)) ?? 0
    left.set(JSON.stringify(entry), times - 1)
    return times <= 0
  })
}

function isList(value: FormValue | null): value is readonly FormValue[] {
  return Array.isArray(value)
}

function isMap(value: FormValue | null): value is Form {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
