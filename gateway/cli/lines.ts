/** A line for people. Whatever its parts say, no control characters are left of them when it is printed. */
export type Line = string | readonly Part[]
export type Part = string | Styled

export interface Styled {
  readonly text: string
  readonly style: Style
}

export type Style = 'strong' | 'good' | 'warning' | 'bad'

/** SGR parameters (ECMA-48 §8.3.117). */
const SGR: Readonly<Record<Style, number>> = { strong: 1, good: 32, warning: 33, bad: 31 }

export interface Form {
  readonly colour: boolean
  /** What is beyond this many characters is left out. */
  readonly width?: number
}

/** The text without what could move a cursor, change colours or turn the direction of writing. */
export function printable(text: string): string {
  return text.replaceAll(/\p{C}+/gu, ' ')
}

export function partText(part: Part): string {
  return printable(typeof part === 'string' ? part : part.text)
}

export function widthOf(text: string): number {
  return [...text].length
}

/** The beginning of a text; an ellipsis says that there was more. */
export function shortened(text: string, width: number): string {
  const characters = [...text]
  return characters.length <= width ? text : `${characters.slice(0, Math.max(0, width - 1)).join('')}…`
}

export function lineText(line: Line, { colour, width = Number.POSITIVE_INFINITY }: Form): string {
  let left = width
  let text = ''
  for (const part of typeof line === 'string' ? [line] : line) {
    const shown = [...partText(part)].slice(0, left).join('')
    left -= widthOf(shown)
    text += colour && typeof part !== 'string' && shown !== '' ? `\u001b[${SGR[part.style]}m${shown}\u001b[0m` : shown
  }
  // the end of a table's row
  return text.trimEnd()
}

/** Broken between words; a word that is longer than `width` stays whole. */
export function wrapped(text: string, width: number): readonly string[] {
  const lines: string[] = []
  for (const word of printable(text).trim().split(/ +/)) {
    const last = lines.at(-1)
    if (last !== undefined && widthOf(last) + 1 + widthOf(word) <= width) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}
