import type { Field } from '../fields.ts'
import { frameHeaderLength, putDataHeader, putHeadersHeader } from './frames.ts'
import { encodeFieldSection } from './qpack-encode.ts'

/** A whole request or response for its stream (RFC 9114 §4.1): a HEADERS frame, and a DATA frame where there is content. */
export function encodeMessage(fields: readonly Field[], content: Uint8Array): Buffer {
  const section = encodeFieldSection(fields)
  const headersLength = frameHeaderLength(section.length) + section.length
  const dataLength = content.length === 0 ? 0 : frameHeaderLength(content.length) + content.length
  const message = Buffer.allocUnsafe(headersLength + dataLength)
  message.set(section, putHeadersHeader(message, 0, section.length))
  if (content.length > 0) message.set(content, putDataHeader(message, headersLength, content.length))
  return message
}
