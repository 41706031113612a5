import type { CertificateStatus, PresentCertificate } from '../admin/control.ts'
import { indented } from './labelled.ts'
import type { Line, Part } from './lines.ts'
import { count, counted, moment, NONE } from './quantities.ts'
import { table } from './table.ts'

/** The others are in the JSON. */
const SHOWN_NAMES = 4

export function certificateLines(certificates: readonly CertificateStatus[]): readonly Line[] {
  if (certificates.length === 0) return ['no certificates: no listener needs one']
  return [...certificateTable(certificates), ...certificates.flatMap(notes)]
}

/** A row for each that clients are shown, and for each that has still to come. */
export function certificateTable(certificates: readonly CertificateStatus[]): readonly Line[] {
  const titles = [{ title: 'NAMES' }, { title: 'SOURCE' }, { title: 'KEY' }, { title: 'DAYS LEFT', right: true }]
  const columns = [...titles, { title: '' }, { title: 'VALID UNTIL' }, { title: 'RENEWED' }]
  const rows = certificates.flatMap(({ source, names, present, renewsAt }) => {
    const renewed = renewsAt === null ? NONE : moment(renewsAt)
    const missing: readonly Part[] = [namesText(names), source, '', '', { text: 'none yet', style: 'warning' }, '', renewed]
    if (present.length === 0) return [missing]
    return present.map((each): readonly Part[] => [
      namesText([...each.names, ...each.addresses]),
      source,
      each.key,
      count(each.daysLeft),
      markOf(each),
      moment(each.notAfter),
      renewed,
    ])
  })
  return table(columns, rows)
}

export function markOf({ daysLeft, endsSoon }: Pick<PresentCertificate, 'daysLeft' | 'endsSoon'>): Part {
  if (daysLeft < 0) return { text: 'expired', style: 'bad' }
  return endsSoon ? { text: '! soon', style: 'warning' } : ''
}

/** What has no place in a column. */
function notes({ name, problem, authority }: CertificateStatus): readonly Line[] {
  const lines: Line[] = []
  if (authority !== null) lines.push(...indented(`to be trusted by clients: ${authority.file}, SHA-256 ${authority.fingerprint}`))
  if (problem === null) return lines
  const { message, since, retriesAt, attempts } = problem
  const again = retriesAt === null ? 'again when something changes' : `again ${moment(retriesAt)}`
  return [...lines, ...indented(`${name}: ${message} (${counted(attempts, 'attempt', 'attempts')} since ${moment(since)}; ${again})`)]
}

function namesText(names: readonly string[]): string {
  const rest = names.length - SHOWN_NAMES
  return `${names.slice(0, SHOWN_NAMES).join(', ')}${rest > 0 ? `, ${rest} more` : ''}`
}
