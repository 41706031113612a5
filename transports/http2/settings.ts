import { putU16, putU32, u16, u32 } from '../../dns/bytes.ts'
import { ErrorCode, FRAME_HEADER_LENGTH, FrameType, LARGEST_MAX_FRAME_SIZE, MAX_FRAME_SIZE, MAX_WINDOW, Setting } from './codes.ts'

/** RFC 9113 §6.5.1: identifier and value. */
export const SETTING_LENGTH = 6

/** Our SETTINGS frame. ENABLE_PUSH is not in it (RFC 9113 §6.5.2); what is not in it keeps its initial value. */
export function settingsFrame(options: { maxStreams: number; maxHeaderListSize: number; connects: boolean }): Buffer {
  const settings = [
    [Setting.MAX_CONCURRENT_STREAMS, options.maxStreams],
    [Setting.MAX_HEADER_LIST_SIZE, options.maxHeaderListSize],
    // RFC 9218 §2.1
    [Setting.NO_RFC7540_PRIORITIES, 1],
    // RFC 8441 §3
    ...(options.connects ? [[Setting.ENABLE_CONNECT_PROTOCOL, 1] as const] : []),
  ] as const
  const frame = Buffer.alloc(FRAME_HEADER_LENGTH + settings.length * SETTING_LENGTH)
  frame[2] = settings.length * SETTING_LENGTH
  frame[3] = FrameType.SETTINGS
  for (const [i, [identifier, value]] of settings.entries()) {
    const at = FRAME_HEADER_LENGTH + i * SETTING_LENGTH
    putU16(frame, at, identifier)
    putU32(frame, at + 2, value)
  }
  return frame
}

/** Reads the client's settings (RFC 9113 §6.5.2), whose length is a multiple of SETTING_LENGTH: what is wrong with them, or NO_ERROR. */
export function readSettings(payload: Uint8Array, onInitialWindow: (size: number) => void): ErrorCode {
  for (let at = 0; at < payload.length; at += SETTING_LENGTH) {
    const value = u32(payload, at + 2)
    switch (u16(payload, at)) {
      case Setting.ENABLE_PUSH:
      // RFC 9218 §2.1
      case Setting.NO_RFC7540_PRIORITIES:
        if (value > 1) return ErrorCode.PROTOCOL_ERROR
        break
      case Setting.INITIAL_WINDOW_SIZE:
        if (value > MAX_WINDOW) return ErrorCode.FLOW_CONTROL_ERROR
        onInitialWindow(value)
        break
      case Setting.MAX_FRAME_SIZE:
        // none of our frames is larger than the smallest value
        if (value < MAX_FRAME_SIZE || value > LARGEST_MAX_FRAME_SIZE) return ErrorCode.PROTOCOL_ERROR
        break
      default:
        // RFC 9113 §6.5.2: unknown ones are ignored; the table of our encoder has no entries, our responses no pushes
        break
    }
  }
  return ErrorCode.NO_ERROR
}
