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
