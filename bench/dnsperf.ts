import { execFile, execFileSync } from 'node:child_process'
import { promisify } from 'node:util'

export type LoadTransport = 'udp' | 'tcp' | 'dot'

export interface Load {
  readonly transport: LoadTransport
  readonly port: number
  /** One question a line, "name type". */
  readonly file: string
  readonly seconds: number
  readonly connections: number
  /** On their way at a time, over all connections. */
  readonly outstanding: number
  /** With an OPT record: the gateway then pads its answers on what is encrypted. */
  readonly hasOpt: boolean
}

export interface LoadFigures {
  readonly answered: number
  /** Of the answers, those with NOERROR. */
  readonly succeeded: number
  readonly lost: number
  readonly perSecond: number
}

export function hasDnsperf(): boolean {
  try {
    execFileSync('dnsperf', ['-h'], { stdio: 'ignore' })
    return true
  } catch (error) {
    // it is there, whatever it thinks of being asked for help
    return (error as NodeJS.ErrnoException).code !== 'ENOENT'
  }
}

/** As many questions as the server answers, for some seconds. */
export async function dnsperf({ transport, port, file, seconds, connections, outstanding, hasOpt }: Load): Promise<LoadFigures> {
  const server = ['-s', '127.0.0.1', '-p', String(port), '-m', transport]
  const amount = ['-d', file, '-l', String(seconds), '-c', String(connections), '-q', String(outstanding), ...(hasOpt ? ['-e'] : [])]
  const { stdout } = await promisify(execFile)('dnsperf', [...server, ...amount])
  const figure = (label: string): number => Number(new RegExp(`${label}:\\s+([\\d.]+)`).exec(stdout)?.[1])
  const figures = {
    answered: figure('Queries completed'),
    // nothing is said of a code that did not occur
    succeeded: Number(/Response codes:.*?NOERROR (\d+)/.exec(stdout)?.[1] ?? 0),
    lost: figure('Queries lost'),
    perSecond: figure('Queries per second'),
  }
  if (Number.isNaN(figures.perSecond)) throw new Error(`Cannot read what dnsperf says: received ${stdout}`)
  return figures
}
