import { type GatewayPorts, RunningGateway } from './gateway.ts'
import { UdpAsker } from './udp-asker.ts'
import { Upstream } from './upstream.ts'

const FIRST_ANSWER_MS = 30_000

/** A program that is started more than once. */
export interface Setup {
  readonly ports: GatewayPorts
  /** Besides what every program of a benchmark has. */
  readonly settings: Readonly<Record<string, string>>
}

/** What a start came to. */
export interface Start {
  readonly firstAnswerMs: number
  /** Of all names, once it served. */
  readonly answered: number
}

/** What a first run left behind. */
export interface Filled {
  /** Where its upstream was. */
  readonly url: string
  /** Names that the cache had at the end, with the upstream dead already. */
  readonly before: number
  readonly stopMs: number
}

/** Asks for all names, then ends the upstream and the program. */
export async function fill(setup: Setup, names: readonly string[]): Promise<Filled> {
  const upstream = await Upstream.start()
  const { url } = upstream
  const gateway = launch(setup, url)
  try {
    await gateway.ready()
    const asker = await UdpAsker.connect(setup.ports.dns)
    const answered = await asker.ask(names)
    if (answered < names.length) throw new Error(`Cannot fill the cache: ${answered} of ${names.length} names were answered`)
    await upstream.stop()
    const before = await asker.ask(names)
    asker.close()
    const from = performance.now()
    await gateway.stop()
    return { url, before, stopMs: performance.now() - from }
  } finally {
    await gateway.stop()
  }
}

/** Starts the program and asks for the first name until it is answered, then for all. */
export async function start(setup: Setup, url: string, names: readonly string[]): Promise<Start> {
  const asker = await UdpAsker.connect(setup.ports.dns)
  const gateway = launch(setup, url)
  try {
    if (!(await asker.askUntilAnswered(names[0] ?? '', FIRST_ANSWER_MS))) throw new Error('Cannot see a first answer')
    const firstAnswerMs = performance.now() - gateway.startedAt
    await gateway.ready()
    return { firstAnswerMs, answered: await asker.ask(names) }
  } finally {
    asker.close()
    await gateway.stop()
  }
}

/** Starts the program; the milliseconds until it serves. */
export async function startBare(setup: Setup, url: string): Promise<number> {
  const gateway = launch(setup, url)
  try {
    await gateway.ready()
    return performance.now() - gateway.startedAt
  } finally {
    await gateway.stop()
  }
}

function launch({ ports, settings }: Setup, url: string): RunningGateway {
  return new RunningGateway(ports, { ...settings, ATLAS_UPSTREAMS: url })
}
