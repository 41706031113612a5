import { authorityOf, contentLengthOf, isMethod, isTarget, NO_CONTENT_LENGTH } from '../../net/fields.ts'
import { FieldKind, type FieldLine, isPseudo } from './field-line.ts'

/** The header section of one request. There is one for all, so it is borrowed for the call that hands it over. Absent fields are empty. */
export class RequestFields {
  readonly lines: FieldLine[] = []
  method = ''
  scheme = ''
  /** Empty with CONNECT, unless it has a protocol (RFC 9113 §8.5, RFC 8441 §4). */
  path = ''
  /** :authority, or Host without it. */
  authority = ''
  /** RFC 8441 §4. */
  protocol = ''
  contentLength = NO_CONTENT_LENGTH
  #host = ''

  /** The values of a field by its lower-case name, joined with commas (RFC 9110 §5.3). */
  get(name: string): string {
    let joined = ''
    for (const line of this.lines) if (line.name === name) joined = joined === '' ? line.value : `${joined}, ${line.value}`
    return joined
  }

  /** Takes the fields out of `lines`; false when they are malformed (RFC 9113 §8.1.1). */
  read(): boolean {
    this.#clear()
    let inFront = true
    for (const { kind, value } of this.lines) {
      // RFC 9113 §8.3: before all others
      if (!isPseudo(kind)) inFront = false
      else if (!inFront) return false
      if (kind !== FieldKind.OTHER && !this.#set(kind, value)) return false
    }
    return this.#isWhole()
  }

  #clear(): void {
    this.method = ''
    this.scheme = ''
    this.path = ''
    this.authority = ''
    this.protocol = ''
    this.contentLength = NO_CONTENT_LENGTH
    this.#host = ''
  }

  /** RFC 9113 §8.3, 8.3.1: each once, and none is empty. RFC 9112 §3.2: who names two hosts may mean two requests. */
  #set(kind: FieldKind, value: string): boolean {
    if (value === '') return false
    switch (kind) {
      case FieldKind.METHOD:
        if (this.method !== '' || !isMethod(value)) return false
        this.method = value
        return true
      case FieldKind.SCHEME:
        if (this.scheme !== '') return false
        this.scheme = value
        return true
      case FieldKind.AUTHORITY:
        if (this.authority !== '') return false
        this.authority = value
        return true
      case FieldKind.PATH:
        if (this.path !== '') return false
        this.path = value
        return true
      case FieldKind.PROTOCOL:
        if (this.protocol !== '') return false
        this.protocol = value
        return true
      case FieldKind.HOST:
        if (this.#host !== '') return false
        this.#host = value
        return true
      case FieldKind.CONTENT_LENGTH:
        return this.#setContentLength(value)
      default:
        return false
    }
  }

  /** RFC 9110 §8.6: the same in every repetition. */
  #setContentLength(value: string): boolean {
    const length = contentLengthOf(value)
    if (length === null || (this.contentLength !== NO_CONTENT_LENGTH && this.contentLength !== length)) return false
    this.contentLength = length
    return true
  }

  #isWhole(): boolean {
    const { method, scheme, path, protocol } = this
    const authority = authorityOf(this.authority || null, this.#host || null)
    if (method === '' || authority === null) return false
    const named = this.authority !== ''
    this.authority = authority
    // RFC 9113 §8.5: the only pseudo-fields of CONNECT are :method and :authority, unless it has a protocol (RFC 8441 §4)
    if (method === 'CONNECT' && protocol === '') return named && scheme === '' && path === ''
    return scheme !== '' && isTarget(path, method) && (protocol === '' || method === 'CONNECT')
  }
}

/** RFC 9113 §8.1: trailers have no pseudo-fields, and otherwise follow the same rules. */
export function areTrailers(lines: readonly FieldLine[]): boolean {
  return lines.every(({ kind }) => kind !== FieldKind.MALFORMED && !isPseudo(kind))
}
