import type { ListenerStatus, ProbeStatus, Status, WorkerStatus } from '../admin/control.ts'
import { cacheText } from './cache-text.ts'
import { indented, labelled } from './labelled.ts'
import type { Line, Part, Styled } from './lines.ts'
import { count, counted, duration, latency, moment, NONE, percent } from './quantities.ts'
import { table } from './table.ts'
import { byRcode, dropsOf, sumsOf } from './traffic.ts'

export function statusLines(status: Status, listeners: readonly ListenerStatus[]): readonly Line[] {
  return [
    ...identity(status),
    '',
    ...workers(status.workers),
    '',
    ...listenerTable(listeners),
    '',
    ...transports(status),
    '',
    ...answers(status),
    '',
    ...labelled('cache', cacheText(status.cache)),
  ]
}

/** In one or two words. */
export function readiness({ ready, draining }: Pick<Status, 'ready' | 'draining'>): Styled {
  if (draining) return { text: 'draining', style: 'warning' }
  return ready ? { text: 'ready', style: 'good' } : { text: 'not ready', style: 'bad' }
}

function identity(status: Status): readonly Line[] {
  const { version, pid, uptimeSeconds, configFile, stateDirectory, reasons, warnings, lastReload } = status
  const reload = lastReload === null ? 'none' : `${moment(lastReload.at)}: ${lastReload.outcome}`
  // all that was wrong with it would be a page
  const message = lastReload?.message?.split('\n')[0] ?? ''
  return [
    [{ text: `Atlas DNS ${version}`, style: 'strong' }, `, process ${pid}, up ${duration(uptimeSeconds)}: `, readiness(status)],
    ...reasons.flatMap((reason) => labelled('', reason)),
    ...warnings.flatMap((warning) => labelled('warning', warning)),
    ...labelled('configuration', configFile ?? 'defaults and environment'),
    ...labelled('state', stateDirectory),
    ...labelled('last reload', message === '' ? reload : `${reload}: ${message}`),
  ]
}

function workers(all: readonly WorkerStatus[]): readonly Line[] {
  return table(
    [
      { title: 'WORKER' },
      { title: 'STATE' },
      { title: 'BUSY', right: true },
      { title: 'DELAY', right: true },
      { title: 'RESTARTS', right: true },
    ],
    all.map(({ index, serving, restarts, eventLoop }) => [
      String(index),
      serving ? { text: 'serving', style: 'good' } : { text: 'not serving', style: 'bad' },
      percent(eventLoop.utilization),
      latency(eventLoop.delaySeconds),
      count(restarts),
    ]),
  )
}

const OUTCOMES: Readonly<Record<ProbeStatus['outcome'], Styled['style'] | null>> = {
  ok: 'good',
  refused: 'warning',
  failed: 'bad',
  pending: null,
}

function listenerTable(listeners: readonly ListenerStatus[]): readonly Line[] {
  const rows = listeners.flatMap(({ kind, address, probes }): (readonly Part[])[] => {
    if (probes.length === 0) return [[kind, address, NONE]]
    return probes.map((probe, i) => [
      i === 0 ? kind : '',
      i === 0 ? address : '',
      probe.transport,
      outcomeOf(probe),
      latency(probe.seconds),
    ])
  })
  const columns = [{ title: 'LISTENER' }, { title: 'ADDRESS' }, { title: 'PROBE' }, { title: 'FOUND' }, { title: 'TIME', right: true }]
  return [...table(columns, rows), ...listeners.flatMap(findings)]
}

function outcomeOf({ outcome }: ProbeStatus): Part {
  const style = OUTCOMES[outcome]
  return style === null ? outcome : { text: outcome, style }
}

/** What has no place in a column. */
function findings({ address, probes }: ListenerStatus): readonly Line[] {
  return probes.flatMap(({ transport, reason, rebinds }) => {
    const rebound = rebinds === 0 ? '' : `bound anew ${counted(rebinds, 'time', 'times')}`
    const text = [reason ?? '', rebound].filter((part) => part !== '').join('; ')
    return text === '' ? [] : indented(`${transport} on ${address}: ${text}`)
  })
}

function transports({ traffic }: Status): readonly Line[] {
  const rows = traffic.transports.map(({ transport, queries, connections }) => {
    const sums = sumsOf(traffic.answers.filter((answer) => answer.transport === transport))
    return [transport, count(queries), count(sums.answers), percent(sums.hitRate), transport === 'udp' ? NONE : count(connections)]
  })
  return [
    ...table([{ title: 'TRANSPORT' }, right('QUERIES'), right('ANSWERS'), right('HIT RATE'), right('CONNECTIONS')], rows),
    ...labelled('open queries', count(traffic.openQueries)),
    ...labelled('drops', dropsText(traffic)),
  ]
}

function dropsText(traffic: Status['traffic']): string {
  const reasons = traffic.drops.filter((drop) => drop.count > 0).toSorted((a, b) => b.count - a.count)
  const detail = reasons.map((drop) => `${drop.reason} ${count(drop.count)}`).join(', ')
  return detail === '' ? '0' : `${count(dropsOf(traffic))}: ${detail}`
}

function answers({ traffic }: Status): readonly Line[] {
  const all = sumsOf(traffic.answers)
  const rows = [...byRcode(traffic.answers), { rcode: 'all', ...all }].map((sums) => [
    sums.rcode,
    count(sums.answers),
    percent(sums.answers / all.answers),
    percent(sums.hitRate),
  ])
  return table([{ title: 'RCODE' }, right('ANSWERS'), right('SHARE'), right('HIT RATE')], rows)
}

function right(title: string): { readonly title: string; readonly right: true } {
  return { title, right: true }
}
