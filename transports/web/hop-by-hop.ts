import type { Field } from '../../net/fields.ts'

/** RFC 9110 §7.6.1, §11.7, RFC 9113 §3.1: about one connection only, so never forwarded. Trailer, too: who forwards decides on trailers anew. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

const NONE: ReadonlySet<string> = new Set()

/** RFC 9110 §7.6.1: the names that Connection lists are hop-by-hop as well. */
export function connectionOptions(fields: readonly Field[]): ReadonlySet<string> {
  let options: Set<string> | null = null
  for (const [name, value] of fields) {
    if (name !== 'connection') continue
    options ??= new Set()
    for (const option of value.split(',')) {
      const listed = option.trim().toLowerCase()
      // as originFields() compares
      options.add(listed).add(listed.replaceAll('_', '-'))
    }
  }
  return options ?? NONE
}

export function isHopByHop(name: string, options: ReadonlySet<string>): boolean {
  return HOP_BY_HOP.has(name) || options.has(name)
}
