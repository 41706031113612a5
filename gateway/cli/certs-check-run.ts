import { OperationalError } from '../../dns/operational-error.ts'
import { type CertificateReport, checkCertificates, rootsOf } from '../assembly/certificate-check.ts'
import { loadConfig } from '../config/load.ts'
import type { CertsCheckOptions } from './certs.ts'
import { markOf } from './certs-text.ts'
import { labelled } from './labelled.ts'
import { type Line, partText } from './lines.ts'
import type { Output } from './output.ts'
import { counted, moment } from './quantities.ts'

/** Shows what clients will think of the certificates of a configuration. Fails with ATLAS_CERTIFICATE when one of them would be stopped. */
export async function runCertsCheck({ config: file, ca }: CertsCheckOptions, output: Output): Promise<void> {
  const { config, warnings } = loadConfig({ file: file ?? null, env: process.env, cwd: process.cwd() })
  const reports = await checkCertificates(config, { roots: rootsOf(ca ?? null), now: Date.now() })
  output.lines(reports.length === 0 ? ['no listener needs a certificate'] : reports.flatMap(reportLines))
  for (const warning of warnings) output.warn(warning)
  const problems = reports.reduce((sum, report) => sum + report.problems.length, 0)
  if (problems > 0)
    throw new OperationalError('ATLAS_CERTIFICATE', `Cannot serve every client: ${counted(problems, 'problem', 'problems')}`)
}

function reportLines({ source, names, present, needs, problems }: CertificateReport, i: number): readonly Line[] {
  return [
    ...(i === 0 ? [] : ['']),
    [{ text: source, style: 'strong' }],
    ...(names.length === 0 ? [] : labelled('names', names.join(', '))),
    ...(present === null ? [] : presentLines(present)),
    ...needs.flatMap((need, at) => labelled(at === 0 ? 'needs' : '', need)),
    ...problems.flatMap((problem) => styled(labelled('problem', problem))),
  ]
}

function presentLines(present: NonNullable<CertificateReport['present']>): readonly Line[] {
  const { key, notAfter, daysLeft, chain } = present
  const mark = partText(markOf(present))
  const left = `${moment(notAfter)}, ${counted(daysLeft, 'day', 'days')} left${mark === '' ? '' : ` ${mark}`}`
  return [...labelled('key', key), ...labelled('valid until', left), ...labelled('chain', chain)]
}

function styled(lines: readonly Line[]): readonly Line[] {
  return lines.map((line) => (typeof line === 'string' ? [{ text: line, style: 'bad' }] : line))
}
