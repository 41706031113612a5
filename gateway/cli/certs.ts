import type { Command } from 'commander'
import { addControlOptions, addExamples, type ControlOptions } from './control-options.ts'
import { type Output, STANDARD_OUTPUT } from './output.ts'

export interface RenewOptions extends ControlOptions {
  readonly timeout: string
}

export interface CertsCheckOptions {
  readonly config?: string
  readonly ca?: string
}

export function addCertsCommand(program: Command, output: Output = STANDARD_OUTPUT): void {
  const show = async (_: ControlOptions, command: Command) => {
    const { showCertificates } = await import('./certs-run.ts')
    await showCertificates(command.optsWithGlobals(), output)
  }
  const certs = program
    .command('certs')
    .description('show the certificates of the running gateway, renew one, check those of a configuration, change the key of an account')
    .action(show)
  addControlOptions(certs)
  addControlOptions(certs.command('list').description('show the certificates of the running gateway: the same as `certs`').action(show))
  addRenewCommand(certs, output)
  addRollOverCommand(certs, output)
  certs
    .command('check')
    .description('check the certificates of a configuration as clients will: needs no running gateway')
    .option('--config <file>', 'configuration file (YAML); without it, the defaults and the environment')
    .option('--ca <file>', 'PEM file with roots that clients trust besides the usual ones')
    .action(async (_: CertsCheckOptions, command: Command) => {
      const { runCertsCheck } = await import('./certs-check-run.ts')
      await runCertsCheck(command.optsWithGlobals(), output)
    })
  addExamples(certs, 'certs --config atlas.yaml', 'certs renew dns.example.net --config atlas.yaml', 'certs check --config atlas.yaml')
}

function addRenewCommand(certs: Command, output: Output): void {
  const renew = certs
    .command('renew')
    .description('have the running gateway renew a certificate at once')
    .argument('<name>', 'any of its names, as `certs` shows them')
    .option('--timeout <duration>', 'how long to wait for the end at most, such as 30s or 5m', '10m')
    .action(async (name: string, _: RenewOptions, command: Command) => {
      const { renewCertificate } = await import('./certs-run.ts')
      await renewCertificate(name, command.optsWithGlobals(), output)
    })
  addControlOptions(renew)
}

function addRollOverCommand(certs: Command, output: Output): void {
  const rollOver = certs
    .command('roll-over')
    .description('have the running gateway give its account at a CA (ACME) another key; certificates are not touched')
    .argument('<name>', 'any name of a certificate that the account has ordered, as `certs` shows them')
    .action(async (name: string, _: ControlOptions, command: Command) => {
      const { rollOverAccount } = await import('./certs-run.ts')
      await rollOverAccount(name, command.optsWithGlobals(), output)
    })
  addControlOptions(rollOver)
}
