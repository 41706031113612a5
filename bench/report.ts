import type { Bench, Cell, Result, Results } from './bench.ts'

/** For a terminal: columns one under the other. */
export function textTable(result: Result): string {
  const lines = gridOf(result)
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  const table = lines.map((line) =>
    line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
  )
  return [result.title, ...table, ...result.notes].join('\n')
}

export function markdownPage(bench: Bench, results: Results, hasPicture: boolean): string {
  const sections = bench.parts.flatMap(({ name }) => (results[name] === undefined ? [] : [markdownSection(results[name])]))
  const about = `Written by \`npm run bench -- ${bench.name}\`. The last columns say what was promised, and whether it was kept.`
  const picture = hasPicture ? [`![${bench.title}](${bench.name}.svg)`] : []
  return `${[`# ${bench.title}`, about, ...picture, ...sections].join('\n\n')}\n`
}

function markdownSection(result: Result): string {
  const [head, ...rows] = gridOf(result).map((cells) => `| ${cells.join(' | ')} |`)
  const rule = `| --- | ${'---: | '.repeat(Math.max(0, result.columns.length - 1))}--- | --- |`
  const table = result.rows.length === 0 ? [] : [[head, rule, ...rows].join('\n')]
  const notes = result.notes.length === 0 ? [] : [result.notes.map((note) => `- ${note}`).join('\n')]
  return [`## ${result.title}`, result.method.join(' '), ...table, ...notes, `Measured ${result.stamp}.`].join('\n\n')
}

/** Head and rows as text, with the bars at the end. */
function gridOf({ columns, rows }: Result): readonly (readonly string[])[] {
  if (rows.length === 0) return []
  const body = rows.map(({ cells, bar }) => [
    ...cells.map((cell, i) => cellText(cell, columns[i]?.digits)),
    bar?.text ?? '',
    bar === undefined ? '' : bar.isMet ? 'yes' : 'NO',
  ])
  return [[...columns.map(({ title }) => title), 'bar', 'met'], ...body]
}

function cellText(cell: Cell, digits = 0): string {
  if (cell === null) return '–'
  if (typeof cell === 'string') return cell
  return cell.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}
