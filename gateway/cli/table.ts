import { type Line, type Part, partText, widthOf } from './lines.ts'

const GAP = '  '

export interface Column {
  readonly title: string
  /** Figures stand to the right. */
  readonly right?: boolean
}

/** A line of titles and a line for each row, in columns as wide as the widest text. */
export function table(columns: readonly Column[], rows: readonly (readonly Part[])[]): readonly Line[] {
  const titles = columns.map(({ title }): Part => ({ text: title, style: 'strong' }))
  const all = [titles, ...rows]
  const widths = columns.map((_, i) => Math.max(...all.map((row) => widthOf(partText(row[i] ?? '')))))
  return all.map((row) =>
    columns.flatMap(({ right = false }, i) => {
      const part = row[i] ?? ''
      const padding = ' '.repeat((widths[i] ?? 0) - widthOf(partText(part)))
      return [i === 0 ? '' : GAP, ...(right ? [padding, part] : [part, padding])]
    }),
  )
}
