/**
 * DNS in words, for the command line and the log: presentation format (RFC 1035 §5.1, RFC 3597 §5, RFC 9460 §2.1) and JSON
 * (RFC 8427). Nothing here throws, whatever the octets, and no text carries a control character that they brought along.
 */
export { classText, parseClass, parseType, rcodeText, typeText } from './mnemonics.ts'
export { type JsonMessage, type JsonOctets, messageJson } from './text-json.ts'
export { answerTexts, malformedAt, messageText } from './text-message.ts'
export { nameText, parseNameText } from './text-name.ts'
