import { type Line, lineText } from './lines.ts'

export interface OutputStreams {
  /** Standard output and standard error. */
  readonly out: (text: string) => void
  readonly err: (text: string) => void
  readonly colour: boolean
}

/** Where a command says what it found out. */
export class Output {
  readonly #streams: OutputStreams

  constructor(streams: OutputStreams) {
    this.#streams = streams
  }

  get colour(): boolean {
    return this.#streams.colour
  }

  lines(lines: readonly Line[]): void {
    this.#streams.out(lines.map((line) => `${lineText(line, this.#streams)}\n`).join(''))
  }

  /** What a person should know and a program that reads the output should not stumble over. */
  warn(warning: string): void {
    this.#streams.err(`${lineText(`warning: ${warning}`, { colour: false })}\n`)
  }

  /** The same value as the gateway's, with everything escaped that a terminal might obey: JSON.stringify() does so below U+0020 only. */
  json(value: unknown): void {
    const text = JSON.stringify(value, null, 2).replaceAll(/[^\P{C}\n]/gu, escaped)
    this.#streams.out(`${text}\n`)
  }
}

export const STANDARD_OUTPUT = new Output({
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  // https://no-color.org: set to anything but the empty string
  colour: process.stdout.isTTY && !process.env.NO_COLOR && process.env.TERM !== 'dumb',
})

// a reader that has enough, as `head` has, or a terminal that was closed: the rest is for nobody, and that is no failure
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error
})

/** RFC 8259 §7: beyond U+FFFF, a pair of surrogates. */
function escaped(character: string): string {
  return Array.from({ length: character.length }, (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')
}
