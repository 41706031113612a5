import type { CertificateStatus } from '../admin/control.ts'
import { controlClient } from './control-client.ts'
import type { ControlOptions } from './control-options.ts'
import type { Line, Part } from './lines.ts'
import type { Output } from './output.ts'
import { count, moment } from './quantities.ts'
import { table } from './table.ts'

/** By then who renews certificates has had weeks for it. */
const WARNING_DAYS = 14
/** The others are in the JSON. */
const SHOWN_NAMES = 4

export async function runCerts(options: ControlOptions, output: Output): Promise<void> {
  const certificates = await controlClient(options).get<readonly CertificateStatus[]>('/v1/certificates')
  if (options.json) return output.json(certificates)
  output.lines(certificateLines(certificates))
}

function certificateLines(certificates: readonly CertificateStatus[]): readonly Line[] {
  if (certificates.length === 0) return ['no certificates: no listener needs one']
  const columns = [{ title: 'SOURCE' }, { title: 'DAYS LEFT', right: true }, { title: '' }, { title: 'VALID UNTIL' }, { title: 'NAMES' }]
  const rows = certificates.map(({ source, daysLeft, notAfter, names, addresses }) => [
    source,
    count(daysLeft),
    markOf(daysLeft),
    moment(notAfter),
    namesText([...names, ...addresses]),
  ])
  return table(columns, rows)
}

function markOf(daysLeft: number): Part {
  if (daysLeft < 0) return { text: 'expired', style: 'bad' }
  return daysLeft < WARNING_DAYS ? { text: '! soon', style: 'warning' } : ''
}

function namesText(names: readonly string[]): string {
  const rest = names.length - SHOWN_NAMES
  return `${names.slice(0, SHOWN_NAMES).join(', ')}${rest > 0 ? `, ${rest} more` : ''}`
}
