import { dirname, resolve } from 'node:path'
import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  visit,
  type YAMLMap,
} from 'yaml'
import { MAX_SYNTAX_PROBLEMS, MAX_YAML_DEPTH, MAX_YAML_NODES } from './knobs.ts'
import type { Located, LocatedEntry, Origin, Path } from './located.ts'
import { type ConfigProblem, pathText, show } from './problem.ts'
import { readTextFile } from './text-file.ts'

export interface YamlFile {
  /** Null when there is nothing to go on with. */
  readonly tree: Located | null
  readonly problems: readonly ConfigProblem[]
}

/** Reads one YAML 1.2 document (core schema). `file` is named in problems as it is given, and is relative to `cwd`. */
export function readYamlFile(file: string, { cwd }: { cwd: string }): YamlFile {
  const path = resolve(cwd, file)
  const content = readTextFile(path)
  if (content.text !== null) return new YamlReader(file, dirname(path)).read(content.text)
  const where = content.before === null ? file : `${file}:${endOf(content.before)}`
  return { tree: null, problems: [{ where, path: '', message: content.reason }] }
}

class YamlReader {
  readonly #file: string
  readonly #directory: string
  readonly #lines = new LineCounter()
  readonly #targets = new Map<Alias, Node>()
  readonly #problems: ConfigProblem[] = []
  #nodes = 0
  #tooLarge = false

  constructor(file: string, directory: string) {
    this.#file = file
    this.#directory = directory
  }

  read(text: string): YamlFile {
    const document = this.#parse(text)
    if (document === null) return { tree: null, problems: this.#problems }
    if (document.contents === null) return { tree: this.#nothing({ where: this.#file, directory: this.#directory }), problems: [] }
    this.#resolveAliases(document)
    const tree = this.#locate(document.contents, [])
    return { tree: this.#tooLarge ? null : tree, problems: this.#problems }
  }

  #parse(text: string): Document.Parsed | null {
    // keys that come twice are found below, with their path; the schema is fixed so that "%YAML 1.1" cannot turn "off" into false
    const options = { lineCounter: this.#lines, prettyErrors: false, uniqueKeys: false, schema: 'core', logLevel: 'error' } as const
    const document = parseDocument(text, options)
    // tags and directives that we do not know are mere warnings to the library; here nothing unknown passes
    const errors = [...document.errors, ...document.warnings]
    const lines = new Set<number>()
    for (const { code, message, pos } of errors) {
      const { line } = this.#lines.linePos(pos[0])
      if (lines.has(line) || lines.size >= MAX_SYNTAX_PROBLEMS) continue
      lines.add(line)
      this.#report(pos[0], { path: [], message: syntaxMessage(code, message) })
    }
    return errors.length > 0 ? null : document
  }

  /** An alias stands for the last node before it with its anchor (YAML 1.2.2 §7.1). One pass, because Alias.resolve() is one for each. */
  #resolveAliases(document: Document): void {
    const anchors = new Map<string, Node>()
    visit(document, {
      Node: (_, node) => {
        if (isAlias(node)) {
          const target = anchors.get(node.source)
          if (target !== undefined) this.#targets.set(node, target)
        } else if (node.anchor !== undefined) anchors.set(node.anchor, node)
      },
    })
  }

  #locate(node: Node, path: Path): Located {
    const origin = this.#originAt(offsetOf(node))
    if (this.#isTooLarge(node, path)) return this.#nothing(origin)
    if (isAlias(node)) {
      const target = this.#targets.get(node)
      if (target !== undefined) return { ...this.#locate(target, path), origin }
      this.#report(offsetOf(node), { path, message: `expected an alias of an anchor above it: received ${show(`*${node.source}`)}` })
      return this.#nothing(origin)
    }
    if (isMap(node)) return { kind: 'map', origin, entries: this.#entries(node, path) }
    if (isSeq(node)) return { kind: 'list', origin, items: node.items.map((item, i) => this.#locate(item as Node, [...path, i])) }
    return { kind: 'scalar', origin, value: isScalar(node) ? node.value : null }
  }

  #entries(map: YAMLMap, path: Path): ReadonlyMap<string, LocatedEntry> {
    const entries = new Map<string, LocatedEntry>()
    for (const { key, value } of map.items as { key: Node; value: Node | null }[]) {
      const origin = this.#originAt(offsetOf(key))
      if (!isScalar(key)) {
        this.#report(offsetOf(key), { path, message: 'expected a plain word as key: received a list, a map or an alias' })
        continue
      }
      const name = key.source ?? String(key.value)
      const first = entries.get(name)
      if (first !== undefined) {
        this.#report(offsetOf(key), { path: [...path, name], message: `expected the key once: received it at ${first.key.where} already` })
        continue
      }
      const node = value === null ? this.#nothing(origin) : this.#locate(value, [...path, name])
      entries.set(name, { key: origin, node })
    }
    return entries
  }

  /** Reported once; the rest of the tree is passed over. */
  #isTooLarge(node: Node, path: Path): boolean {
    this.#nodes++
    const tooDeep = path.length > MAX_YAML_DEPTH
    if (this.#tooLarge || (!tooDeep && this.#nodes <= MAX_YAML_NODES)) return this.#tooLarge
    this.#tooLarge = true
    const limit = tooDeep ? `${MAX_YAML_DEPTH} levels` : `${MAX_YAML_NODES} values, aliases written out`
    this.#report(offsetOf(node), { path: path.slice(0, 2), message: `expected at most ${limit}: received more` })
    return true
  }

  #nothing(origin: Origin): Located {
    return { kind: 'scalar', origin, value: null }
  }

  #originAt(offset: number): Origin {
    const { line, col } = this.#lines.linePos(offset)
    return { where: `${this.#file}:${line}:${col}`, directory: this.#directory }
  }

  #report(offset: number, { path, message }: { path: Path; message: string }): void {
    this.#problems.push({ where: this.#originAt(offset).where, path: pathText(path), message })
  }
}

function offsetOf(node: Node): number {
  return node.range?.[0] ?? 0
}

function syntaxMessage(code: string, message: string): string {
  if (code === 'MULTIPLE_DOCS') return 'expected one YAML document: received a second one'
  if (code === 'RESOURCE_EXHAUSTION') return `expected at most ${MAX_YAML_DEPTH} levels: received more`
  if (code === 'TAB_AS_INDENT') return 'expected spaces as indentation: received a tab'
  return `expected valid YAML: ${message}`
}

/** Line and column after `text`, both from 1. */
function endOf(text: string): string {
  const lines = text.split('\n')
  return `${lines.length}:${(lines.at(-1) ?? '').length + 1}`
}
