import type { Field } from '../../net/fields.ts'
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

let dateText = ''
let dateSecond = -1

/** The time now as RFC 9110 §5.6.7 writes it. */
export function date(): string {
  const second = Math.floor(Date.now() / 1000)
  if (second !== dateSecond) {
    dateSecond = second
    dateText = new Date(second * 1000).toUTCString()
  }
  return dateText
}
