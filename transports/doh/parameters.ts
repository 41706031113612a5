/** The values of a parameter of the query component, percent-decoded once; what cannot be decoded stays as it is. */
export function parameters(query: string, name: string): string[] {
  const values: string[] = []
  for (const pair of query.split('&')) {
    const equals = pair.indexOf('=')
    const key = equals < 0 ? pair : pair.slice(0, equals)
    if (percentDecode(key) === name) values.push(equals < 0 ? '' : percentDecode(pair.slice(equals + 1)))
  }
  return values
}

function percentDecode(text: string): string {
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
