import type { Field } from '../../net/fields.ts'
import { date } from '../../net/http-date.ts'
import type { ResponseHead } from './response.ts'

/** The header section of a response, where no library adds what every response has. */
export function fieldsOf({ status, headers }: ResponseHead): Field[] {
  const fields: Field[] = [
    [':status', String(status)],
    // RFC 9110 §6.6.1
    ['date', date()],
  ]
  for (const name in headers) fields.push([name, String(headers[name])])
  return fields
}

/** RFC 9110 §15.2.1. */
export const CONTINUE: readonly Field[] = Object.freeze([[':status', '100']])

/** RFC 9110 §10.1.1: whether a client may wait with its content until it is asked for it; curl does so for a second. */
export function expectsContinue(expect: string): boolean {
  return expect.toLowerCase() === '100-continue'
}
