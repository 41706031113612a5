import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { OperationalError, reasonOf } from '../../dns/operational-error.ts'
import type { QuicEngine } from '../quic.ts'
import type { QuicBinding } from './binding.ts'
import type { EndpointDependencies } from './endpoint.ts'
import { LibraryEngine } from './engine.ts'
import { KeyDirectory } from './key-files.ts'
import { NativeBinding, type NativeClasses } from './native-binding.ts'
import { PublicBinding, type PublicModule } from './public-binding.ts'

const PACKAGE = '@currentspace/http3'

/** QUIC for this machine, or why there is none. `keyDirectory` becomes ours alone: nothing else may be in it. Throws ATLAS_STATE when it cannot be used. */
export function createQuicEngine(keyDirectory: string, dependencies: EndpointDependencies): QuicEngine | { readonly unavailable: string } {
  try {
    const binding = loadBinding()
    return new LibraryEngine(binding, new KeyDirectory(keyDirectory), dependencies)
  } catch (error) {
    if (error instanceof OperationalError) throw error
    const [reason = ''] = reasonOf(error).split('\n')
    return { unavailable: reason }
  }
}

function loadBinding(): QuicBinding {
  const require = createRequire(import.meta.url)
  const entry = require.resolve(PACKAGE)
  const native = join(dirname(entry), '..', 'index.js')
  const classes: Partial<NativeClasses> = existsSync(native) ? require(native) : {}
  return hasClasses(classes) ? new NativeBinding(classes) : new PublicBinding(require(entry) as PublicModule)
}

function hasClasses(classes: Partial<NativeClasses>): classes is NativeClasses {
  return typeof classes.NativeQuicServer === 'function' && typeof classes.NativeQuicClient === 'function'
}
