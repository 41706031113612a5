import { parseArgs } from 'node:util'
import type { Bench } from './bench.ts'
import { CACHE } from './cache/cache.ts'
import { DOH } from './doh/doh.ts'
import { DOT } from './dot/dot.ts'
import { RELOAD } from './reload/reload.ts'
import { runBench } from './run.ts'
import { UPSTREAM } from './upstream/upstream.ts'

const BENCHES: readonly Bench[] = [CACHE, RELOAD, DOH, DOT, UPSTREAM]

const USAGE = `Usage: npm run bench -- <name> [--only <part>]... [--quick]

Measures, prints tables, and writes docs/benchmarks/<name>.json and .md.

${BENCHES.map(describe).join('\n')}
Options:
  --only <part>  run this part; what the page says of the others stays
  --quick        a short run, to see that it works; writes nothing
  --help         show this

Use a machine that does nothing else. All load stays on the loopback interface.
`

function describe({ name, title, parts }: Bench): string {
  const lines = parts.map((part) => `    ${part.name.padEnd(13)}${part.title}`)
  return `  ${name}: ${title}; parts:\n${lines.join('\n')}\n`
}

/** The exit code: 0 done, 2 wrong usage. */
async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      only: { type: 'string', multiple: true, default: [] },
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean' },
    },
  })
  if (values.help === true) {
    process.stdout.write(USAGE)
    return 0
  }
  const [name, ...more] = positionals
  if (name === undefined || more.length > 0) return refuse(`expected one benchmark: received ${positionals.join(' ') || 'none'}`)
  const bench = BENCHES.find((each) => each.name === name)
  if (bench === undefined) return refuse(`expected a benchmark, ${list(BENCHES)}: received ${name}`)
  const unknown = values.only.find((only) => !bench.parts.some((part) => part.name === only))
  if (unknown !== undefined) return refuse(`expected a part of ${name}, ${list(bench.parts)}: received ${unknown}`)
  const parts = values.only.length === 0 ? bench.parts : bench.parts.filter((part) => values.only.includes(part.name))
  await runBench(bench, parts, { isQuick: values.quick })
  return 0
}

function list(named: readonly { readonly name: string }[]): string {
  return named.map(({ name }) => name).join(' | ')
}

function refuse(reason: string): number {
  process.stderr.write(`Cannot run: ${reason}\n\n${USAGE}`)
  return 2
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof TypeError) || !('code' in error) || !String(error.code).startsWith('ERR_PARSE_ARGS')) throw error
  process.exitCode = refuse(error.message)
}
