import { authorityOf, contentLengthOf, isMethod, isTarget, NO_CONTENT_LENGTH } from '../../net/fields.ts'
import { FIELD_KINDS, FieldKind, type FieldLine, isPseudo } from './field-line.ts'

/** The header section of one request. There is one for all, so it is borrowed for the call that hands it over. Absent fields are empty. */
export class RequestFields {
  readonly lines: FieldLine[] = []
  /** :authority, or Host without it. */
  authority = ''
  contentLength = NO_CONTENT_LENGTH
  /** Values by their kind. */
  readonly #values = Array.from({ length: FIELD_KINDS }, () => '')

  get method(): string {
    return this.#of(FieldKind.METHOD)
  }

  get scheme(): string {
    return this.#of(FieldKind.SCHEME)
  }

  /** Empty with CONNECT, unless it has a protocol (RFC 9113 §8.5, RFC 8441 §4). */
  get path(): string {
    return this.#of(FieldKind.PATH)
  }

  /** RFC 8441 §4. */
  get protocol(): string {
    return this.#of(FieldKind.PROTOCOL)
  }

  get contentType(): string {
    return this.#of(FieldKind.CONTENT_TYPE)
  }

  get contentEncoding(): string {
    return this.#of(FieldKind.CONTENT_ENCODING)
  }

  get accept(): string {
    return this.#of(FieldKind.ACCEPT)
  }

  get expect(): string {
    return this.#of(FieldKind.EXPECT)
  }

  /** The values of any other field by its lower-case name, joined with commas (RFC 9110 §5.3). */
  get(name: string): string {
    let joined = ''
    for (const line of this.lines) if (line.name === name) joined = joined === '' ? line.value : `${joined}, ${line.value}`
    return joined
  }

  /** Takes the fields out of `lines`; false when they are malformed (RFC 9113 §8.1.1). */
  read(): boolean {
    for (let kind = 0; kind < FIELD_KINDS; kind++) this.#values[kind] = ''
    let inFront = true
    for (const { kind, value } of this.lines) {
      // RFC 9113 §8.3: before all others
      if (!isPseudo(kind)) inFront = false
      else if (!inFront) return false
      if (kind !== FieldKind.OTHER && !this.#set(kind, value)) return false
    }
    return this.#isWhole()
  }

  #of(kind: FieldKind): string {
    return this.#values[kind] as string
  }

  #set(kind: FieldKind, value: string): boolean {
    if (kind === FieldKind.MALFORMED) return false
    const before = this.#of(kind)
    // RFC 9110 §8.6: it has digits
    if (kind === FieldKind.CONTENT_LENGTH && value === '') return false
    // RFC 9110 §5.3
    if (kind >= FieldKind.CONTENT_LENGTH) this.#values[kind] = before === '' ? value : `${before}, ${value}`
    // RFC 9113 §8.3, 8.3.1: each once, and none is empty. RFC 9112 §3.2: who names two hosts may mean two requests
    else if (before !== '' || value === '') return false
    else this.#values[kind] = value
    return true
  }

  #isWhole(): boolean {
    const { method, scheme, path, protocol } = this
    const named = this.#of(FieldKind.AUTHORITY)
    const authority = authorityOf(named || null, this.#of(FieldKind.HOST) || null)
    const contentLength = contentLengthOf(this.#of(FieldKind.CONTENT_LENGTH) || null)
    if (!isMethod(method) || authority === null || contentLength === null) return false
    this.authority = authority
    this.contentLength = contentLength
    // RFC 9113 §8.5: the only pseudo-fields of CONNECT are :method and :authority, unless it has a protocol (RFC 8441 §4)
    if (method === 'CONNECT' && protocol === '') return named !== '' && scheme === '' && path === ''
    return scheme !== '' && isTarget(path, method) && (protocol === '' || method === 'CONNECT')
  }
}

/** RFC 9113 §8.1: trailers have no pseudo-fields, and otherwise follow the same rules. */
export function areTrailers(lines: readonly FieldLine[]): boolean {
  return lines.every(({ kind }) => kind !== FieldKind.MALFORMED && !isPseudo(kind))
}
