/** What a benchmark is made of: parts, which run one after the other and each give a table. */
export interface Bench {
  /** As on the command line, and of its pages in docs/benchmarks. */
  readonly name: string
  readonly title: string
  readonly parts: readonly Part[]
  /** An SVG picture of the results; null while there is nothing to show. */
  readonly picture?: (results: Results) => string | null
}

export interface Part {
  readonly name: string
  readonly title: string
  /** What is measured and how, a sentence or two each. */
  readonly method: readonly string[]
  run(context: Context): Outcome | Promise<Outcome>
}

export interface Context {
  /** A short run, to see that it works. */
  readonly isQuick: boolean
  /** Tells who waits what is being done. */
  progress(text: string): void
}

export interface Outcome {
  readonly columns: readonly Column[]
  readonly rows: readonly Row[]
  /** What the reader has to know of this very run. */
  readonly notes: readonly string[]
}

export interface Column {
  readonly title: string
  /** Of numbers, behind the decimal point; none by default. */
  readonly digits?: number
}

/** Null: does not apply. */
export type Cell = string | number | null

export interface Row {
  readonly cells: readonly Cell[]
  /** Absent where nothing is promised. */
  readonly bar?: Bar
}

/** What was promised, and whether it was kept. */
export interface Bar {
  readonly text: string
  readonly isMet: boolean
}

/** What a part gave, where and when. */
export interface Result extends Outcome {
  readonly title: string
  readonly method: readonly string[]
  readonly stamp: string
}

/** The results of a benchmark by the names of its parts. */
export type Results = Readonly<Record<string, Result>>

export function skipped(reason: string): Outcome {
  return { columns: [], rows: [], notes: [`Skipped: ${reason}.`] }
}
