import { execFileSync } from 'node:child_process'
import { join } from 'node:path'

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30']
const SUBJECT = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']

/** Makes the certificate of a server of this machine, and its key: PEM files in `folder`. */
export function selfSigned(folder: string): { readonly certificate: string; readonly key: string } {
  const [certificate, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  execFileSync('openssl', ['req', '-x509', ...KEY, '-keyout', key, '-out', certificate, ...SUBJECT], { stdio: 'ignore' })
  return { certificate, key }
}
