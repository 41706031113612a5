import { MAX_MESSAGE_LENGTH } from '../dns/header.ts'
import { PREFIX_LENGTH } from './framing.ts'

/**
 * The one buffer of a thread into which messages are encoded, to be copied out at once with their true length: room for the
 * largest message and its prefix. Nobody may rely on its content after returning to the event loop or calling anything else.
 */
export const scratch = Buffer.alloc(PREFIX_LENGTH + MAX_MESSAGE_LENGTH)
