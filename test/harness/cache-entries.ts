import assert from 'node:assert/strict'
import { putU32, u32 } from '../../dns/bytes.ts'
import { parseNameText } from '../../dns/text-name.ts'
import type { Entry, EntryFacts } from '../../gateway/cache/entry.ts'
import { PAGE_BYTES } from '../../gateway/cache/geometry.ts'
import { CacheKey, mix } from '../../gateway/cache/key.ts'
import { LEASE_BYTES } from '../../gateway/cache/leases.ts'
import { type CacheMemory, checksumSeed, createCacheMemory } from '../../gateway/cache/memory.ts'
import { Table } from '../../gateway/cache/table.ts'

export const SECRET = Uint32Array.of(1, 2, 3, 4)
/** What failures have when there is little memory. */
const FAILURE_BYTES = 262_144

/** Octets of a cache whose answers have exactly so many pages. */
export function bytesOf(pages: number): number {
  return pages * (PAGE_BYTES + 4) + FAILURE_BYTES + LEASE_BYTES
}

export function memoryOf(pages: number, clockOffset = 0): CacheMemory {
  return createCacheMemory({ bytes: bytesOf(pages), secret: SECRET, clockOffset })
}

export function tableOf(memory: CacheMemory, owner = 1): Table {
  return new Table(memory.answers, { owner, seed: checksumSeed(memory), keepMs: 0 })
}

export function wireOf(name: string): Uint8Array {
  const wire = parseNameText(name)
  assert.ok(wire, name)
  return wire
}

/** A key of its own for each name and type. */
export function keyOf(name: string, { secret = SECRET, type = 1 } = {}): CacheKey {
  const key = new CacheKey(secret)
  const wire = wireOf(name)
  key.readName(wire, 0, wire.length)
  key.facts = wire.length
  key.space = 1
  key.ofType(type, 1)
  return key
}

/** A value in which every octet says of which key and version it is. */
export function factsOf(key: CacheKey, version: number): EntryFacts {
  let state = mix(key.id ^ mix(version))
  const length = 8 + ((state >>> 0) % 500)
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
    bytes[i] = state >>> 24
  }
  putU32(bytes, 0, version)
  return {
    rcode: version & 0xf,
    reason: 0,
    scope: 0,
    at: version,
    lifetime: 300 + (version & 0xff),
    body: {
      bytes,
      start: 0,
      additional: length >>> 1,
      end: length,
      answers: version & 0xff,
      authorities: 1,
      additionals: 2,
      ttls: Uint16Array.of(4),
      freshness: 0,
      at: 0,
    },
  }
}

/** Whether `entry`, which was found by `key`, is exactly what was once stored for it. */
export function isTrue(entry: Entry, key: CacheKey): boolean {
  const { body, rcode } = entry.answer({ now: entry.at, source: 'cache' })
  const value = factsOf(key, u32(body.bytes, body.start))
  if (entry.at !== value.at || entry.lifetime !== value.lifetime || rcode !== value.rcode || value.body === null) return false
  if (body.additional - body.start !== value.body.additional || body.end - body.start !== value.body.end) return false
  if (body.answers !== value.body.answers || body.authorities !== 1 || body.additionals !== 2) return false
  return Buffer.compare(value.body.bytes, body.bytes.subarray(body.start, body.end)) === 0
}
