import { X509Certificate } from 'node:crypto'
import { acmeSource } from '../../certs/acme/options.ts'
import { followChain, usualRoots } from '../../certs/chain.ts'
import { filesNamed, loadIdentityFiles } from '../../certs/files.ts'
import { covers, type Identity } from '../../certs/identity.ts'
import { keyKindOf } from '../../certs/key-kind.ts'
import { daysLeft, endsSoon } from '../../certs/lifetime.ts'
import { LOCAL_CA } from '../../certs/local-identities.ts'
import { loadRoots } from '../../certs/roots.ts'
import { OperationalError } from '../../dns/operational-error.ts'
import type { CertificateConfig, Config } from '../config/config.ts'
import { acmeFlaws } from './acme-check.ts'
import { acmeNeeds } from './acme-needs.ts'
import { localSource } from './identities.ts'

/** What can be said about a certificate of a configuration without a gateway that runs. */
export interface CertificateReport {
  readonly source: string
  readonly names: readonly string[]
  /** Null: it has still to be made, or cannot be used. */
  readonly present: PresentReport | null
  /** What has to be so outside of the gateway. */
  readonly needs: readonly string[]
  /** What would stop a client. */
  readonly problems: readonly string[]
}

export interface PresentReport {
  readonly key: string
  readonly notAfter: string
  readonly daysLeft: number
  readonly endsSoon: boolean
  /** Where its chain leads. */
  readonly chain: string
}

export interface CertificateCheckContext {
  readonly roots: readonly X509Certificate[]
  /** Milliseconds since 1970. */
  readonly now: number
}

/** What clients trust: the usual roots, and those of a file that the command line names. Throws OperationalError. */
export function rootsOf(file: string | null): readonly X509Certificate[] {
  const own = file === null ? [] : loadRoots({ file, origin: '--ca' })
  return [...own.map((pem) => new X509Certificate(pem)), ...usualRoots()]
}

/** Looks at the certificates as clients will: reads their files, and those that `tls.acme` names; opens no socket. */
export async function checkCertificates(config: Config, context: CertificateCheckContext): Promise<readonly CertificateReport[]> {
  const { doh, dot, doq } = config.listen
  if (doh.length + dot.length + doq.length === 0) return []
  const { certificates, acme } = config.tls
  const files = await Promise.all(certificates.map((certificate) => fileReport(certificate, context)))
  const ordered = acme.map((entry) => ({
    source: acmeSource(entry.directory),
    names: entry.names,
    present: null,
    needs: acmeNeeds(entry, config),
    problems: acmeFlaws(entry, config).map(({ message }) => message),
  }))
  const reports = files.length + ordered.length === 0 ? [localReport(config)] : [...files, ...ordered]
  return withPublicName(reports, config)
}

async function fileReport(certificate: CertificateConfig, context: CertificateCheckContext): Promise<CertificateReport> {
  const source = filesNamed(certificate).cert
  try {
    const identity = await loadIdentityFiles(certificate)
    const { names, addresses } = identity
    return { source, names: [...names, ...addresses], needs: [], ...lookAt(identity, context) }
  } catch (error) {
    if (!(error instanceof OperationalError)) throw error
    return { source, names: [], present: null, needs: [], problems: [error.message] }
  }
}

function lookAt(identity: Identity, { roots, now }: CertificateCheckContext) {
  const { notAfter } = identity
  const { chain, problems } = chainText(identity, { roots, now })
  const present = {
    key: keyKindOf(identity),
    notAfter: new Date(notAfter).toISOString(),
    daysLeft: daysLeft(identity, now),
    endsSoon: endsSoon(identity, now),
    chain,
  }
  return { present, problems }
}

function chainText({ chainPem }: Identity, context: CertificateCheckContext): { chain: string; problems: readonly string[] } {
  const end = followChain(chainPem, context)
  switch (end.kind) {
    case 'known':
      return { chain: `complete: it leads to ${end.root}`, problems: [] }
    case 'private':
      return { chain: `complete: it leads to ${end.root}, a root that only those trust who were told to`, problems: [] }
    case 'broken':
      return {
        chain: `ends before ${end.issuer}`,
        problems: [
          `the certificate of ${end.issuer} is missing behind the others in the file: append it, or use the CA's "full chain"; if it is a root of your own, say so with --ca`,
        ],
      }
    case 'expired':
      return {
        chain: `leads to ${end.name}`,
        problems: [`${end.name} in the chain has expired on ${new Date(end.notAfter).toISOString()}`],
      }
  }
}

function localReport(config: Config): CertificateReport {
  const { names, addresses } = localSource(config)
  const needs = [`clients have to trust ca.pem of the state directory, ${config.state}`]
  return { source: LOCAL_CA, names: [...names, ...addresses], present: null, needs, problems: [] }
}

/** Clients that are told `public.name` ask for a certificate of it. */
function withPublicName(reports: readonly CertificateReport[], { public: { name } }: Config): readonly CertificateReport[] {
  const [first, ...others] = reports
  const isKnown = reports.every(({ names }) => names.length > 0)
  if (first === undefined || name === null || !isKnown || reports.some(({ names }) => covers(names, name))) return reports
  const problem = `no certificate has ${name}, which is public.name: clients that are told it are shown this one`
  return [{ ...first, problems: [...first.problems, problem] }, ...others]
}
