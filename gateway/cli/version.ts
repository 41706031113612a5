import { readFileSync } from 'node:fs'

/** The version in package.json, which stands in a directory above this file, in a checkout and in a build alike. */
export const VERSION: string = readVersion()

function readVersion(): string {
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      return (JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as { version: string }).version
    } catch {
      // the other place
    }
  }
  return 'unknown'
}
