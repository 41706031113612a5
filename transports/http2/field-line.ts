import { FIELD_OVERHEAD, isFieldValue, isPortableLine } from '../../net/fields.ts'

/** What a field means to a request. */
export const FieldKind = {
  /** Not allowed in a request. */
  MALFORMED: -1,
  /** Looked for by its name, if at all. */
  OTHER: 0,
  // once, and not empty
  METHOD: 1,
  SCHEME: 2,
  AUTHORITY: 3,
  PATH: 4,
  PROTOCOL: 5,
  HOST: 6,
  // lists
  CONTENT_LENGTH: 7,
  CONTENT_TYPE: 8,
  CONTENT_ENCODING: 9,
  ACCEPT: 10,
  EXPECT: 11,
} as const
export type FieldKind = (typeof FieldKind)[keyof typeof FieldKind]
export const FIELD_KINDS = 12

const KINDS: ReadonlyMap<string, FieldKind> = new Map<string, FieldKind>([
  [':method', FieldKind.METHOD],
  [':scheme', FieldKind.SCHEME],
  [':authority', FieldKind.AUTHORITY],
  [':path', FieldKind.PATH],
  [':protocol', FieldKind.PROTOCOL],
  ['host', FieldKind.HOST],
  ['content-length', FieldKind.CONTENT_LENGTH],
  ['content-type', FieldKind.CONTENT_TYPE],
  ['content-encoding', FieldKind.CONTENT_ENCODING],
  ['accept', FieldKind.ACCEPT],
  ['expect', FieldKind.EXPECT],
])

/** A decoded field line, looked at once: what stands in a table of HPACK is never validated again. */
export class FieldLine {
  readonly name: string
  readonly value: string
  readonly kind: FieldKind

  constructor(name: string, value: string) {
    this.name = name
    this.value = value
    this.kind = kindOf(name, value)
  }

  /** Octets as RFC 7541 §4.1 and RFC 9113 §10.5.1 count them. */
  get size(): number {
    return this.name.length + this.value.length + FIELD_OVERHEAD
  }
}

/** RFC 9113 §8.2.1, 8.2.2, 8.3. */
function kindOf(name: string, value: string): FieldKind {
  const kind = KINDS.get(name)
  // of a target, less is allowed than of other values: isTarget()
  if (kind === FieldKind.PATH) return kind
  if (!isFieldValue(value)) return FieldKind.MALFORMED
  if (kind !== undefined) return kind
  return isPortableLine(name, value) ? FieldKind.OTHER : FieldKind.MALFORMED
}

/** Whether it is one of RFC 9113 §8.3.1. */
export function isPseudo(kind: FieldKind): boolean {
  return kind >= FieldKind.METHOD && kind <= FieldKind.PROTOCOL
}
