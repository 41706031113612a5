import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Bench, Context, Outcome, Part, Result, Results } from './bench.ts'
import { markdownPage, textTable } from './report.ts'
import { stamp } from './stamp.ts'

const FORMATTER = fileURLToPath(new URL('../node_modules/@biomejs/biome/bin/biome', import.meta.url))
const FOLDER = new URL('../docs/benchmarks/', import.meta.url)

/** Runs `parts`, prints what they give, and keeps it beside what is known of the others. */
export async function runBench(bench: Bench, parts: readonly Part[], { isQuick }: { isQuick: boolean }): Promise<void> {
  const file = new URL(`${bench.name}.json`, FOLDER)
  const results = { ...readResults(file) }
  for (const part of parts) {
    const context: Context = { isQuick, progress: (text) => process.stderr.write(`${bench.name} ${part.name}: ${text}\n`) }
    const { title, method } = part
    const result: Result = { title, method, stamp: stamp(), ...rounded(await part.run(context)) }
    process.stdout.write(`\n${textTable(result)}\n`)
    results[part.name] = result
    // part by part: a later one may fail
    if (!isQuick) save(bench, file, results)
  }
  if (!isQuick) process.stderr.write(`written: docs/benchmarks/${bench.name}.json and .md\n`)
}

function save(bench: Bench, file: URL, results: Results): void {
  mkdirSync(FOLDER, { recursive: true })
  writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`)
  // kept in the repository, where everything is formatted
  execFileSync(process.execPath, [FORMATTER, 'format', '--write', fileURLToPath(file)], { stdio: 'ignore' })
  const picture = bench.picture?.(results) ?? null
  if (picture !== null) writeFileSync(new URL(`${bench.name}.svg`, FOLDER), picture)
  writeFileSync(new URL(`${bench.name}.md`, FOLDER), markdownPage(bench, results, picture !== null))
}

function readResults(file: URL): Results {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Results
  } catch (error) {
    // the first run of this benchmark
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw error
  }
}

/** Without digits that mean nothing. */
function rounded({ columns, rows, notes }: Outcome): Outcome {
  const round = (cell: Outcome['rows'][number]['cells'][number], i: number) =>
    typeof cell === 'number' ? Number(cell.toFixed(columns[i]?.digits ?? 0)) : cell
  return { columns, rows: rows.map((row) => ({ ...row, cells: row.cells.map(round) })), notes }
}
