import type { Command } from 'commander'
import { addControlOptions, addExamples, type ControlOptions } from './control-options.ts'
import { type Output, STANDARD_OUTPUT } from './output.ts'

export function addUpstreamsCommand(program: Command, output: Output = STANDARD_OUTPUT): void {
  const upstreams = program
    .command('upstreams')
    .description('show the upstreams of the running gateway, have one no longer asked or asked again')
    .action(async (options: ControlOptions) => {
      const { showUpstreams } = await import('./upstreams-run.ts')
      await showUpstreams(options, output)
    })
  addControlOptions(upstreams)
  addSwitch(
    upstreams,
    { word: 'disable', description: 'have an upstream no longer asked, until it is enabled or the gateway restarts' },
    output,
  )
  addSwitch(upstreams, { word: 'enable', description: 'have an upstream asked again' }, output)
  addExamples(upstreams, 'upstreams --config atlas.yaml', 'upstreams disable quad9 --config atlas.yaml')
}

function addSwitch(upstreams: Command, { word, description }: { word: 'disable' | 'enable'; description: string }, output: Output): void {
  const command = upstreams
    .command(word)
    .description(description)
    .argument('<name>', 'its name, as `upstreams` shows it')
    .action(async (name: string, _: ControlOptions, self: Command) => {
      const { switchUpstream } = await import('./upstreams-run.ts')
      await switchUpstream({ name, word }, self.optsWithGlobals(), output)
    })
  addControlOptions(command)
}
