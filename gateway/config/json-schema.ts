import * as z from 'zod'
import type { Path } from './located.ts'
import { configSchema } from './schema.ts'

type Node = z.core.JSONSchema.JSONSchema

const FORM = form()

/**
 * JSON Schema (2020-12) of what the operator writes, with defaults and descriptions, for editors. Checks that look at two
 * settings at once are not in it.
 */
export function configJsonSchema(): object {
  return structuredClone(FORM)
}

/** A setting that text can express, and so a variable: anything but a section and a list of maps. */
export interface Leaf {
  readonly path: readonly string[]
  /** The value that `text` stands for. Text that does not fit stays text, for validation to refuse. */
  readonly parse: (text: string) => string | number | boolean | readonly string[]
}

export function textLeaves(): readonly Leaf[] {
  return leavesOf(FORM, [])
}

/** The keys that are allowed in the map at `path`: there may be some whose only sense is to say why they are not. */
export function keysAt(path: Path): readonly string[] {
  let nodes: readonly Node[] = [FORM]
  for (const step of path) nodes = nodes.flatMap(forms).flatMap((node) => childrenAt(node, step))
  const properties = nodes.flatMap(forms).flatMap((node) => Object.entries(node.properties ?? {}))
  return properties.filter(([, child]) => !isNode(child) || child.not === undefined).map(([key]) => key)
}

function form(): Node {
  return z.toJSONSchema(configSchema, {
    io: 'input',
    target: 'draft-2020-12',
    override: ({ jsonSchema }) => {
      // a section: its default says nothing, and it may be left empty
      if (jsonSchema.type !== 'object' || jsonSchema.default === undefined) return
      delete jsonSchema.default
      jsonSchema.type = ['object', 'null']
    },
  })
}

function leavesOf(node: Node, path: readonly string[]): readonly Leaf[] {
  if (node.properties !== undefined) {
    return Object.entries(node.properties).flatMap(([key, child]) => (isNode(child) ? leavesOf(child, [...path, key]) : []))
  }
  if (forms(node).some(({ items }) => isNode(items) && !accepts(items, 'string'))) return []
  return [{ path, parse: (text) => parseText(node, text) }]
}

function parseText(node: Node, text: string): ReturnType<Leaf['parse']> {
  if (accepts(node, 'array')) return text.trim() === '' ? [] : text.split(',').map((item) => item.trim())
  if (accepts(node, 'boolean') && (text === 'true' || text === 'false')) return text === 'true'
  if (accepts(node, 'integer') && /^-?\d+$/.test(text)) return Number(text)
  return text
}

function accepts(node: Node, type: z.core.JSONSchema.SchemaType): boolean {
  return forms(node).some((each) => each.type === type)
}

/** The alternatives of a node, or the node itself. */
function forms(node: Node): readonly Node[] {
  return node.anyOf ?? [node]
}

function childrenAt(node: Node, step: PropertyKey): readonly Node[] {
  const child = typeof step === 'number' ? node.items : node.properties?.[String(step)]
  return isNode(child) ? [child] : []
}

function isNode(node: Node['items']): node is Node {
  return typeof node === 'object' && !Array.isArray(node)
}
