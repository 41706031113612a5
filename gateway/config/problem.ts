import { OperationalError } from '../../dns/operational-error.ts'
import type { Path } from './located.ts'

/** Longest piece of the operator's text that a message repeats. */
const MAX_SHOWN = 80

export interface ConfigProblem {
  /** "file:line:column" with the file as the operator named it, the file alone, or the name of a variable. */
  readonly where: string
  /** The key, as "listen.dot[1]"; empty for the configuration as a whole. */
  readonly path: string
  /** What was expected and what was received. */
  readonly message: string
}

/** The configuration is wrong. The message has one line for each problem. */
export class ConfigError extends OperationalError {
  /** Everything that was found wrong, in the order of the file, then of the environment. */
  readonly problems: readonly ConfigProblem[]

  constructor(problems: readonly ConfigProblem[]) {
    const sorted = problems.toSorted((a, b) => positionOf(a) - positionOf(b))
    super('ATLAS_CONFIG', sorted.map(lineOf).join('\n'))
    this.name = 'ConfigError'
    this.problems = sorted
  }
}

/** "listen.dot[1]" */
export function pathText(path: Path): string {
  let text = ''
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`
    else if (/^[A-Za-z][\w-]{0,63}$/.test(String(step))) text += text === '' ? String(step) : `.${String(step)}`
    else text += `[${show(String(step))}]`
  }
  return text
}

/** What stands in a wrong place at times, and is not to stand in logs. */
const SECRETS = [
  { holds: holdsKey, shown: 'a private key' },
  { holds: (text: string) => /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*@/i.test(text), shown: 'a URL with a user name or password' },
] as const

/** Whether it is the content of a key file, where its path may have been meant. */
export function holdsKey(text: string): boolean {
  return /-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)
}

/** A value as a message repeats it; secrets are not repeated. */
export function show(value: unknown): string {
  if (value === null || value === undefined) return 'nothing'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list'
  if (typeof value === 'object') return 'a map'
  if (typeof value !== 'string') return String(value)
  const secret = SECRETS.find(({ holds }) => holds(value))
  if (secret !== undefined) return secret.shown
  return value.length > MAX_SHOWN ? `${JSON.stringify(value.slice(0, MAX_SHOWN))}…` : JSON.stringify(value)
}

function lineOf({ where, path, message }: ConfigProblem): string {
  return path === '' ? `${where}: ${message}` : `${where}: ${path}: ${message}`
}

/** Orders by line and column; what has neither comes last. */
function positionOf({ where }: ConfigProblem): number {
  const match = /:(\d+):(\d+)$/.exec(where)
  return match === null ? Number.MAX_SAFE_INTEGER : Number(match[1]) * 2 ** 21 + Number(match[2])
}
