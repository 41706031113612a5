import { connectionError, H3, type Http3Error } from './errors.ts'
import { VarintReader } from './varint.ts'

/** RFC 9114 §7.2.4.1: settings of HTTP/2 that have no meaning here. */
const HTTP2_SETTINGS: ReadonlySet<number> = new Set([0x00, 0x02, 0x03, 0x04, 0x05])

/** Reads the payload of SETTINGS (RFC 9114 §7.2.4). None of the peer's settings changes what we do, so none is kept. */
export function checkSettings(payload: Uint8Array): Http3Error | null {
  const seen = new Set<number>()
  const reader = new VarintReader()
  for (let at = 0; at < payload.length; ) {
    at = reader.push(payload, at)
    const id = reader.complete ? reader.take() : null
    at = reader.push(payload, at)
    // RFC 9114 §7.1: the payload ends within a setting
    if (id === null || !reader.complete) return connectionError(H3.FRAME_ERROR)
    reader.take()
    // RFC 9114 §7.2.4: no setting twice
    if (HTTP2_SETTINGS.has(id) || seen.has(id)) return connectionError(H3.SETTINGS_ERROR)
    seen.add(id)
  }
  return null
}
