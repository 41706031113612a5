import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Third-party packets, where a checkout has them beside it; the tests hold without. */
const CORPUS = new URL('../../../shared/data/packets/', import.meta.url).pathname

export const hasCorpus = existsSync(CORPUS)

export function corpus(): readonly Buffer[] {
  return readdirSync(CORPUS, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(bin|pkt)$/.test(entry.name))
    .map((entry) => readFileSync(join(entry.parentPath, entry.name)))
    .filter((packet) => packet.length > 0 && packet.length <= 65_535)
}
