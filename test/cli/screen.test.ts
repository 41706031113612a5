import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { dirname, join } from 'node:path'
import test, { describe, type TestContext } from 'node:test'
import { type AdminDoor, closeDoor, openDoor, reply } from './admin-door.ts'
import { STATUS } from './recorded.ts'

const PROGRAM = new URL('../../deploy/atlas-dns', import.meta.url).pathname
const ENTERED = '\u001b[?1049h\u001b[?25l\u001b[?7l'
const LEFT = '\u001b[?7h\u001b[?25h\u001b[?1049l'
const HOME = '\u001b[H'
const DRAWN = '\u001b[J'
const ERASED = '\u001b[K'

// util-linux; the script(1) of BSD and macOS has other options
const hasScript = process.platform === 'linux' && spawnSync('script', ['--version']).status === 0
const skip = hasScript ? false : 'no script(1) of util-linux on this machine'

interface Terminal {
  readonly child: ChildProcess
  readonly output: () => string
  /** Resolves when `condition` holds of the output. */
  until(condition: (output: string) => boolean): Promise<void>
  readonly ended: Promise<number>
  /** What the shell in the terminal wrote beside. */
  note(name: string): string
}

/** `top` in a pseudo-terminal of 24 lines with 80 columns. */
function openTop(t: TestContext, door: AdminDoor, interval = '100ms'): Terminal {
  const directory = dirname(door.config)
  const top = `exec sh '${PROGRAM}' top --interval ${interval} --config '${door.config}'`
  const command = `stty rows 24 cols 80; tty > '${directory}/tty'; echo $$ > '${directory}/pid'; ${top}`
  const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    env: { ...process.env, TERM: 'xterm', NO_COLOR: '1' },
  })
  t.after(() => child.kill('SIGKILL'))
  let output = ''
  const waiting = new Set<() => void>()
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk
    for (const look of waiting) look()
  })
  const until = (condition: (output: string) => boolean) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (condition(output) && waiting.delete(look)) resolve()
      }
      waiting.add(look)
      look()
    })
  const ended = once(child, 'close').then(([code]) => code as number)
  return { child, output: () => output, until, ended, note: (name) => readFileSync(join(directory, name), 'utf8').trim() }
}

function framesOf(output: string): readonly string[] {
  return output.split(HOME).slice(1)
}

describe('top in a terminal', { skip }, () => {
  test('draws in place on the alternate screen, and leaves it with q', async (t) => {
    const door = await openDoor(t)
    const terminal = openTop(t, door)
    await terminal.until((output) => framesOf(output).length >= 3)
    terminal.child.stdin?.write('xq')
    assert.equal(await terminal.ended, 0)
    const output = terminal.output()
    assert.ok(output.startsWith(`${ENTERED}${HOME}`))
    assert.ok(output.endsWith(LEFT))
    const [first = '', second = ''] = framesOf(output)
    assert.match(first, /– queries\/s/)
    assert.match(second, /0 queries\/s/)
    assert.ok(second.endsWith(DRAWN))
    const lines = second.slice(0, -DRAWN.length).split('\n')
    assert.ok(lines.length <= 24)
    for (const line of lines) assert.ok(line.trimEnd().endsWith(ERASED), line)
  })

  for (const [what, end] of [
    ['Ctrl-C', ({ child }: Terminal) => void child.stdin?.write('\u0003')],
    ['SIGTERM', ({ note }: Terminal) => void process.kill(Number(note('pid')), 'SIGTERM')],
  ] as const) {
    test(`leaves it with ${what}`, async (t) => {
      const terminal = openTop(t, await openDoor(t))
      await terminal.until((output) => framesOf(output).length >= 1)
      end(terminal)
      assert.equal(await terminal.ended, 0)
      assert.ok(terminal.output().endsWith(LEFT))
    })
  }

  test('leaves it when the gateway is gone, and says so where it can be read', async (t) => {
    const door = await openDoor(t)
    const terminal = openTop(t, door)
    await terminal.until((output) => framesOf(output).length >= 2)
    closeDoor(door)
    assert.equal(await terminal.ended, 1)
    assert.match(
      terminal.output().split(LEFT)[1] ?? '',
      /^Cannot reach the gateway at .*: no gateway is running with this state directory\r\n$/,
    )
    assert.ok(!existsSync(door.socketPath))
  })

  test('takes the size that the terminal has now, before the next look', async (t) => {
    const terminal = openTop(t, await openDoor(t), '1m')
    await terminal.until((output) => framesOf(output)[0]?.endsWith(DRAWN) ?? false)
    execFileSync('stty', ['--file', terminal.note('tty'), 'rows', '7', 'cols', '30'])
    // lines and columns are set one after the other
    const isSmall = (frame: string) => frame.endsWith(DRAWN) && frame.split('\n').length === 7 && !frame.includes('up 3 d 4 h')
    await terminal.until((output) => framesOf(output).some(isSmall))
    assert.match(framesOf(terminal.output())[0] ?? '', /up 3 d 4 h: ready/)
    terminal.child.stdin?.write('q')
    assert.equal(await terminal.ended, 0)
  })

  test('starts anew with another process, and follows its events', async (t) => {
    const door = await openDoor(t)
    const streams: ServerResponse[] = []
    const event = { id: 1, at: '2026-03-01T12:00:00.000Z', type: 'reload', message: 'the first process', facts: {} }
    door.answers.set('/v1/events', (response: ServerResponse) => {
      const message = streams.push(response) === 1 ? event.message : 'the second process'
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(`data: ${JSON.stringify({ ...event, message })}\n\n`)
    })
    const terminal = openTop(t, door)
    await terminal.until((output) => framesOf(output).some((frame) => frame.includes('the first process')))
    const seen = framesOf(terminal.output()).length
    door.answers.set('/v1/status', (response: ServerResponse) => reply(response, 200, { ...STATUS, startedAt: '2026-03-02T00:00:00.000Z' }))
    streams[0]?.end()
    await terminal.until((output) => framesOf(output).some((frame) => frame.includes('the second process')))
    assert.ok(
      framesOf(terminal.output())
        .slice(seen)
        .some((frame) => frame.includes('– queries/s')),
    )
    terminal.child.stdin?.write('q')
    assert.equal(await terminal.ended, 0)
  })
})
