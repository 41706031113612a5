let dateText = ''
let dateSecond = -1

/** The time now as RFC 9110 §5.6.7 writes it: one text a second. */
export function date(): string {
  const second = Math.floor(Date.now() / 1000)
  if (second !== dateSecond) {
    dateSecond = second
    dateText = new Date(second * 1000).toUTCString()
  }
  return dateText
}
