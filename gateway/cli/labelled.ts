import { type Line, wrapped } from './lines.ts'

export const WIDTH = 80
const LABEL_WIDTH = 15

/** A text beside its label, broken between words. */
export function labelled(label: string, text: string): readonly Line[] {
  return wrapped(text, WIDTH - LABEL_WIDTH).map((line, i) => `${(i === 0 ? label : '').padEnd(LABEL_WIDTH)}${line}`)
}

/** A text of its own, set off from what is above. */
export function indented(text: string): readonly Line[] {
  return wrapped(text, WIDTH - 4).map((line, i) => `${i === 0 ? '  ' : '    '}${line}`)
}
