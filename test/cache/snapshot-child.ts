import { OperationalError } from '../../dns/operational-error.ts'
import { writeSnapshot } from '../../gateway/cache/snapshot.ts'
import { factsOf, keyOf, memoryOf, tableOf } from '../harness/cache-entries.ts'

/** Writes the snapshot again and again, until it is killed or fails; then it says why. */
async function run(path: string, pages: number): Promise<void> {
  const memory = memoryOf(pages)
  const table = tableOf(memory)
  for (let i = 0; i < 10 * pages; i++) {
    const key = keyOf(`name-${i}.example`)
    table.store(key, factsOf(key, i), 0)
  }
  try {
    for (;;) await writeSnapshot(path, { memory, table, fingerprint: 1, now: 0, wallClock: 0 })
  } catch (error) {
    if (error instanceof OperationalError) process.stdout.write(JSON.stringify({ code: error.code, message: error.message }))
  }
}

await run(process.argv[2] ?? '', Number(process.argv[3]))
