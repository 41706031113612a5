import 'reflect-metadata'
import { randomBytes, webcrypto, X509Certificate } from 'node:crypto'
import * as x509 from '@peculiar/x509'

const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const YEAR_MS = 365 * 86_400_000

interface Authority {
  readonly name: string
  readonly keys: webcrypto.CryptoKeyPair
  readonly certificate: x509.X509Certificate
}

export interface Issued {
  /** PEM: the leaf and its issuer. */
  readonly chain: string
  /** The same leaf below another root. */
  readonly alternate: string
  /** Hexadecimal, as DER has it. */
  readonly serial: string
}

/** Who signs for a CA: an intermediate, below the root "Test Root 1" and, cross-signed, below "Test Root 2". */
export class AcmeIssuer {
  readonly #intermediate: Authority
  readonly #crossSigned: x509.X509Certificate

  private constructor(intermediate: Authority, crossSigned: x509.X509Certificate) {
    this.#intermediate = intermediate
    this.#crossSigned = crossSigned
  }

  static async create(): Promise<AcmeIssuer> {
    const [first, second] = [await root('Test Root 1'), await root('Test Root 2')]
    const keys = await makeKeys()
    const certificate = await certify('Test Intermediate', keys.publicKey, first)
    return new AcmeIssuer({ name: 'Test Intermediate', keys, certificate }, await certify('Test Intermediate', keys.publicKey, second))
  }

  /** The names that a CSR asks for, of a CSR that is signed by its key. */
  static async namesIn(csr: Buffer): Promise<readonly string[]> {
    const request = new x509.Pkcs10CertificateRequest(csr)
    if (!(await request.verify())) return []
    const extension = request.getExtension('2.5.29.17')
    return extension === null ? [] : new x509.SubjectAlternativeNameExtension(extension.rawData).names.items.map(({ value }) => value)
  }

  /** For the names given, whatever the CSR says. */
  async issue(csr: Buffer, { names, from, until }: { names: readonly string[]; from: number; until: number }): Promise<Issued> {
    const request = new x509.Pkcs10CertificateRequest(csr)
    const serial = Buffer.concat([Buffer.of(0, 0x87), randomBytes(8)]).toString('hex')
    const leaf = await x509.X509CertificateGenerator.create({
      subject: '',
      issuer: this.#intermediate.certificate.subjectName,
      serialNumber: serial,
      notBefore: new Date(Math.floor(from / 1000) * 1000),
      notAfter: new Date(Math.floor(until / 1000) * 1000),
      publicKey: request.publicKey,
      signingKey: this.#intermediate.keys.privateKey,
      signingAlgorithm: P256,
      extensions: [
        new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: /^[\d.]+$|:/.test(value) ? 'ip' : 'dns', value }))),
        await x509.AuthorityKeyIdentifierExtension.create(this.#intermediate.keys.publicKey),
      ],
    })
    const [chain, alternate] = [this.#intermediate.certificate, this.#crossSigned].map((above) => pem(leaf) + pem(above))
    return { chain: chain ?? '', alternate: alternate ?? '', serial }
  }

  get keyIdentifier(): string {
    const extension = this.#intermediate.certificate.getExtension(x509.SubjectKeyIdentifierExtension)
    return extension?.keyId ?? ''
  }
}

async function root(name: string): Promise<Authority> {
  const keys = await makeKeys()
  const self = { name, keys } as Authority
  return { ...self, certificate: await certify(name, keys.publicKey, self) }
}

async function certify(name: string, publicKey: webcrypto.CryptoKey, issuer: Authority): Promise<x509.X509Certificate> {
  return x509.X509CertificateGenerator.create({
    subject: `CN=${name}`,
    issuer: `CN=${issuer.name}`,
    notBefore: new Date(Date.now() - YEAR_MS),
    notAfter: new Date(Date.now() + 20 * YEAR_MS),
    publicKey,
    signingKey: issuer.keys.privateKey,
    signingAlgorithm: P256,
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true), await x509.SubjectKeyIdentifierExtension.create(publicKey)],
  })
}

async function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(P256, true, ['sign', 'verify'])
}

function pem(certificate: x509.X509Certificate): string {
  return new X509Certificate(Buffer.from(certificate.rawData)).toString()
}
