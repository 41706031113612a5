import type { ReadStream, WriteStream } from 'node:tty'
import { type Line, lineText } from './lines.ts'

/** Private modes of xterm, https://invisible-island.net/xterm/ctlseqs/: alternate screen, no cursor, lines are not wrapped. */
const ENTER = '\u001b[?1049h\u001b[?25l\u001b[?7l'
const LEAVE = '\u001b[?7h\u001b[?25h\u001b[?1049l'
/** ECMA-48 §8.3: cursor to the first column of the first line; the rest of a line, of the screen goes. */
const HOME = '\u001b[H'
const ERASE_LINE = '\u001b[K'
const ERASE_BELOW = '\u001b[J'

/** q, Ctrl-C, Ctrl-D: in raw mode they are characters. */
const QUIT_KEYS: ReadonlySet<string> = new Set(['q', 'Q', '\u0003', '\u0004'])
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** A terminal as a whole, from open() to close(). */
export class Screen {
  readonly #input: ReadStream
  readonly #output: WriteStream
  readonly #colour: boolean
  readonly #leave = () => void this.#output.write(LEAVE)
  #undo: (() => void)[] = []

  constructor({ input, output, colour }: { input: ReadStream; output: WriteStream; colour: boolean }) {
    this.#input = input
    this.#output = output
    this.#colour = colour
  }

  /** `onQuit`: the person, the system or the terminal wants this to end. */
  open({ onQuit, onResize }: { onQuit: () => void; onResize: () => void }): void {
    this.#listen(onQuit, onResize)
    this.#output.write(ENTER)
    // for what ends the process without asking anybody
    process.once('exit', this.#leave)
    if (!this.#input.isTTY) return
    this.#input.setRawMode(true)
    this.#input.resume()
  }

  get size(): { readonly columns: number; readonly rows: number } {
    const { columns, rows } = this.#output
    // a terminal that does not say is 0 × 0
    return { columns: columns || 80, rows: rows || 24 }
  }

  /** In place of what is there: no more lines than the terminal has, and nothing scrolls. */
  draw(lines: readonly Line[]): void {
    const { columns, rows } = this.size
    const form = { colour: this.#colour, width: columns }
    const text = lines.slice(0, rows).map((line) => `${lineText(line, form)}${ERASE_LINE}`)
    this.#output.write(`${HOME}${text.join('\r\n')}${ERASE_BELOW}`)
  }

  close(): void {
    for (const undo of this.#undo) undo()
    this.#undo = []
    process.off('exit', this.#leave)
    if (this.#input.isTTY) {
      this.#input.setRawMode(false)
      this.#input.pause()
    }
    this.#leave()
  }

  #listen(onQuit: () => void, onResize: () => void): void {
    const onData = (data: Buffer) => {
      if ([...data.toString('latin1')].some((key) => QUIT_KEYS.has(key))) onQuit()
    }
    this.#input.on('data', onData).on('end', onQuit)
    this.#output.on('resize', onResize)
    for (const signal of SIGNALS) process.on(signal, onQuit)
    // the terminal is gone; stays, for there is one more write
    this.#output.on('error', onQuit)
    this.#undo = [
      () => this.#input.off('data', onData).off('end', onQuit),
      () => this.#output.off('resize', onResize),
      ...SIGNALS.map((signal) => () => void process.off(signal, onQuit)),
    ]
  }
}
