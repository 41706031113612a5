import type { Field } from './fields.ts'

/** The entries of a static table with one name: the first, and all by their value. */
interface StaticName {
  readonly index: number
  readonly values: ReadonlyMap<string, number>
}

/** A static table of HPACK or QPACK by name; `first` is the index of its first entry. */
export function staticNames(table: readonly Field[], first: number): ReadonlyMap<string, StaticName> {
  const names = new Map<string, { readonly index: number; readonly values: Map<string, number> }>()
  for (const [i, [name, value]] of table.entries()) {
    const entry = names.get(name) ?? { index: first + i, values: new Map<string, number>() }
    names.set(name, entry)
    entry.values.set(value, first + i)
  }
  return names
}
