import { type Logger, pino } from 'pino'
import type { LogLevel } from './config/config.ts'

const STDERR = 2

/** The log, on standard error: of the main thread, and of each worker. */
export function createLog(level: LogLevel): Logger {
  // written at once: a line that is still in a buffer when the thread dies is the one that would have told why
  return pino({ level, base: null }, pino.destination({ dest: STDERR, sync: true }))
}
