/** Where something was written. */
export interface Origin {
  /** "file:line:column", the name of a variable, or "default". */
  readonly where: string
  /** What a relative path written there is relative to; absolute. */
  readonly directory: string
}

/** What the operator wrote, as a tree that knows of every value where it stands. */
export type Located =
  | { readonly kind: 'map'; readonly origin: Origin; readonly entries: ReadonlyMap<string, LocatedEntry> }
  | { readonly kind: 'list'; readonly origin: Origin; readonly items: readonly Located[] }
  | { readonly kind: 'scalar'; readonly origin: Origin; readonly value: unknown }

export interface LocatedEntry {
  readonly key: Origin
  readonly node: Located
}

/** Keys and list positions from the root down, as zod has them in its issues. */
export type Path = readonly PropertyKey[]

/** The values alone. */
export function plainOf(node: Located): unknown {
  switch (node.kind) {
    case 'map':
      // fromEntries() defines properties: a key "__proto__" stays a key
      return Object.fromEntries([...node.entries].map(([key, entry]) => [key, plainOf(entry.node)]))
    case 'list':
      return node.items.map(plainOf)
    case 'scalar':
      return node.value
  }
}

/** The value at `path`, null where nothing was written. */
export function nodeAt(tree: Located, path: Path): Located | null {
  let node: Located | null = tree
  for (const step of path) {
    if (node === null) return null
    node = childOf(node, step)
  }
  return node
}

/** Origin of the value at `path`, or of the nearest thing around it that was written. */
export function originOf(tree: Located, path: Path): Origin {
  let node = tree
  for (const step of path) {
    const child = childOf(node, step)
    if (child === null) break
    node = child
  }
  return node.origin
}

/** Origin of the key that ends `path`, else of what is around it. */
export function keyOriginOf(tree: Located, path: Path): Origin {
  const parent = nodeAt(tree, path.slice(0, -1))
  const entry = parent?.kind === 'map' ? parent.entries.get(String(path.at(-1))) : undefined
  return entry?.key ?? originOf(tree, path)
}

/** `tree` with `leaf` at `path`; sections that are missing are made. A section that is no map stays: it is a problem of its own. */
export function overlay(tree: Located, { path, leaf }: { path: readonly string[]; leaf: Located }): Located {
  const [key, ...rest] = path
  if (key === undefined) return leaf
  const entries = entriesOf(tree)
  if (entries === null) return tree
  const below = entries.get(key)?.node ?? { kind: 'scalar', origin: leaf.origin, value: null }
  const entry = { key: leaf.origin, node: overlay(below, { path: rest, leaf }) }
  return { kind: 'map', origin: tree.origin, entries: new Map([...entries, [key, entry]]) }
}

/** A section without anything in it is an empty map. */
function entriesOf(node: Located): ReadonlyMap<string, LocatedEntry> | null {
  if (node.kind === 'map') return node.entries
  return node.kind === 'scalar' && node.value === null ? new Map() : null
}

function childOf(node: Located, step: PropertyKey): Located | null {
  if (node.kind === 'map') return node.entries.get(String(step))?.node ?? null
  return node.kind === 'list' ? (node.items[Number(step)] ?? null) : null
}
