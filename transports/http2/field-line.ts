import { FIELD_OVERHEAD, isFieldValue, isPortableLine } from '../../net/fields.ts'

/** What a field means to a request. */
export const FieldKind = {
  /** Of no consequence here. */
  OTHER: 0,
  METHOD: 1,
  SCHEME: 2,
  AUTHORITY: 3,
  PATH: 4,
  PROTOCOL: 5,
  HOST: 6,
  CONTENT_LENGTH: 7,
  /** Not allowed in a request. */
  MALFORMED: 8,
} as const
export type FieldKind = (typeof FieldKind)[keyof typeof FieldKind]

const KINDS: ReadonlyMap<string, FieldKind> = new Map<string, FieldKind>([
  [':method', FieldKind.METHOD],
  [':scheme', FieldKind.SCHEME],
  [':authority', FieldKind.AUTHORITY],
  [':path', FieldKind.PATH],
  [':protocol', FieldKind.PROTOCOL],
  ['host', FieldKind.HOST],
  ['content-length', FieldKind.CONTENT_LENGTH],
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
