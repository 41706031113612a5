import { setTimeout as sleep } from 'node:timers/promises'
import { OperationalError } from '../../dns/operational-error.ts'
import { type AdminClient, AdminError } from '../admin/client.ts'
import type { CertificateStatus } from '../admin/control.ts'
import type { RenewOptions } from './certs.ts'
import { certificateLines, certificateTable } from './certs-text.ts'
import { controlClient } from './control-client.ts'
import type { ControlOptions } from './control-options.ts'
import type { Output } from './output.ts'
import { parseTimeout } from './timeout.ts'

const POLL_MS = 500
/** A CA is asked some questions, and may take its time for each. */
const ROLL_OVER_TIMEOUT_MS = 120_000

export async function showCertificates(options: ControlOptions, output: Output): Promise<void> {
  const certificates = await controlClient(options).get<readonly CertificateStatus[]>('/v1/certificates')
  if (options.json) return output.json(certificates)
  output.lines(certificateLines(certificates))
}

/** Returns when there is a new certificate. Fails with ATLAS_ADMIN and the reason when there is none, or not yet. */
export async function renewCertificate(name: string, { timeout, ...options }: RenewOptions, output: Output): Promise<void> {
  const timeoutMs = parseTimeout(timeout)
  const client = controlClient(options)
  const deadline = performance.now() + timeoutMs
  let certificate = await ask(client, name)
  if (isRunning(certificate) && !options.json) output.lines([`${certificate.name}: ${certificate.source} is asked for a new one`])
  while (isRunning(certificate)) {
    if (performance.now() > deadline) throw failed(`the renewal of ${certificate.name} goes on: nothing after ${timeoutMs / 1000} s`)
    await sleep(POLL_MS)
    certificate = await look(client, certificate.name)
  }
  const { renewal } = certificate
  if (renewal?.outcome === 'failed') throw failed(renewal.message ?? '')
  if (options.json) return output.json(certificate)
  output.lines([[`${certificate.name} is `, { text: 'renewed', style: 'good' }], ...certificateTable([certificate])])
}

/** Returns when the CA knows the new key. Fails with ATLAS_ADMIN and the reason. */
export async function rollOverAccount(name: string, options: ControlOptions, output: Output): Promise<void> {
  const path = `/v1/certificates/roll-over?name=${encodeURIComponent(name)}`
  try {
    const done = await controlClient(options).post<{ done: true }>(path, { timeoutMs: ROLL_OVER_TIMEOUT_MS })
    if (options.json) return output.json(done)
    output.lines([['the account has ', { text: 'another key', style: 'good' }]])
  } catch (error) {
    // the reason stands for itself
    if (error instanceof AdminError && error.reason !== null) throw new OperationalError('ATLAS_ADMIN', error.reason)
    throw error
  }
}

async function ask(client: AdminClient, name: string): Promise<CertificateStatus> {
  try {
    return await client.post<CertificateStatus>(`/v1/certificates/renew?name=${encodeURIComponent(name)}`)
  } catch (error) {
    // the reason stands for itself
    if (error instanceof AdminError && error.reason !== null) throw failed(error.reason)
    throw error
  }
}

async function look(client: AdminClient, name: string): Promise<CertificateStatus> {
  const certificates = await client.get<readonly CertificateStatus[]>('/v1/certificates')
  const certificate = certificates.find((each) => each.name === name)
  // it was restarted, or its configuration has changed
  if (certificate?.renewal == null) throw failed(`the gateway knows nothing of the renewal of ${name} any more`)
  return certificate
}

function isRunning({ renewal }: CertificateStatus): boolean {
  return renewal?.outcome === 'running'
}

function failed(reason: string): OperationalError {
  return new OperationalError('ATLAS_ADMIN', `Cannot renew the certificate: ${reason}`)
}
