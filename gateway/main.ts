import { ThreadLauncher } from './workers/thread.ts'

const args = process.argv.slice(2)
const launcher = new ThreadLauncher()
// before the program itself is loaded: both take their time, on two cores at once
if (args[0] === 'run') launcher.warmUp()
const { main } = await import('./cli/program.ts')
process.exitCode = await main(args, launcher)
