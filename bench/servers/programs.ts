import { execFileSync } from 'node:child_process'
import { env } from 'node:process'

/** nginx is where administrators have their programs. */
export const PROGRAM_PATH = `${env.PATH}:/usr/sbin`

export function isInstalled(command: string): boolean {
  try {
    execFileSync(command, ['--version'], { stdio: 'ignore', env: { PATH: PROGRAM_PATH } })
    return true
  } catch (error) {
    // it is there, whatever it thinks of being asked
    return (error as NodeJS.ErrnoException).code !== 'ENOENT'
  }
}

/** How many files and connections a program that is started here may have open. */
export function openFiles(): number {
  const text = execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim()
  return text === 'unlimited' ? Number.POSITIVE_INFINITY : Number(text)
}
