import type { Command } from 'commander'
import { addControlOptions, addExamples, type ControlOptions } from './control-options.ts'
import { type Output, STANDARD_OUTPUT } from './output.ts'

export interface PurgeOptions extends ControlOptions {
  readonly suffix?: string
  readonly all?: boolean
}

export function addCacheCommand(program: Command, output: Output = STANDARD_OUTPUT): void {
  const cache = program
    .command('cache')
    .description('show the figures of the cache, look a name up in it, throw names out of it')
    .action(async (options: ControlOptions) => {
      const { showCache } = await import('./cache-run.ts')
      await showCache(options, output)
    })
  addControlOptions(cache)
  const get = cache
    .command('get')
    .description('show what the cache knows of a name')
    .argument('<name>', 'domain name')
    .action(async (name: string, _: ControlOptions, command: Command) => {
      const { showEntries } = await import('./cache-run.ts')
      await showEntries(name, command.optsWithGlobals(), output)
    })
  addControlOptions(get)
  addPurgeCommand(cache, output)
  addExamples(
    cache,
    'cache --config atlas.yaml',
    'cache get www.example.com --config atlas.yaml',
    'cache purge www.example.com --config atlas.yaml',
    'cache purge --suffix example.com --config atlas.yaml',
  )
}

function addPurgeCommand(cache: Command, output: Output): void {
  const purge = cache
    .command('purge')
    .description('throw out a name, a name and everything below it, or everything')
    .argument('[name]', 'domain name, all types')
    .option('--suffix <name>', 'this name and everything below it')
    .option('--all', 'everything')
    .action(async (name: string | undefined, _: PurgeOptions, command: Command) => {
      const { purgeCache } = await import('./cache-run.ts')
      await purgeCache(name, command.optsWithGlobals(), output)
    })
  addControlOptions(purge)
}
