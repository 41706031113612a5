import { loadIdentityFiles } from './files.ts'
import type { CertificateFiles, Identity } from './identity.ts'
import type { CertificateObserver, CertificateState, IdentityProvider } from './provider.ts'

/** The certificate of a pair of files. */
export class FileIdentities implements IdentityProvider {
  readonly #files: CertificateFiles
  readonly #observer: CertificateObserver
  #identity: Identity

  /** `identity`: what is in the files. */
  constructor({ files, identity }: { files: CertificateFiles; identity: Identity }, observer: CertificateObserver) {
    this.#files = files
    this.#identity = identity
    this.#observer = observer
  }

  get certificates(): readonly CertificateState[] {
    return [this.#state]
  }

  /** Reads the files anew. */
  async renew(): Promise<void> {
    this.#identity = loadIdentityFiles(this.#files)
    this.#observer.changed(this.#state)
  }

  async stop(): Promise<void> {}

  get #state(): CertificateState {
    const { names, addresses } = this.#identity
    return { source: this.#files.cert, names: [...names, ...addresses], identities: [this.#identity], renewsAt: null, problem: null }
  }
}
