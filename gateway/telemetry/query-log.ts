import type { Logger } from 'pino'
import type { Answer } from '../../dns/answer.ts'
import type { Failure } from '../../dns/failure.ts'
import { HEADER_LENGTH } from '../../dns/header.ts'
import type { Query } from '../../dns/query.ts'
import { nameText, rcodeText, typeText } from '../../dns/text.ts'
import { Rcode } from '../../dns/types.ts'
import type { QueryLogConfig } from '../config/config.ts'
import type { PipelineObserver } from '../pipeline.ts'
import { PROBE_ZONE } from '../stages/probe.ts'

/** One line for each query that `log.queries` asks for. Off by default: who asked what is nobody's business. */
export class QueryLog implements PipelineObserver {
  readonly #log: Logger
  readonly #config: QueryLogConfig

  constructor(log: Logger, config: QueryLogConfig) {
    this.#log = log
    this.#config = config
  }

  onQuery(): void {}

  onAnswer(query: Query, answer: Answer, now: number): void {
    if (!this.#wants(answer.rcode)) return
    this.#log.info(
      { ...facts(query), rcode: rcodeText(answer.rcode), source: answer.source, ms: Math.round((now - query.receivedAt) * 1000) / 1000 },
      'query',
    )
  }

  onRefusal(query: Query, failure: Failure): void {
    if (this.#config.kind === 'errors' || this.#wants(Rcode.REFUSED)) this.#log.info({ ...facts(query), refused: failure.code }, 'query')
  }

  #wants(rcode: number): boolean {
    if (this.#config.kind === 'errors') return rcode !== Rcode.NOERROR && rcode !== Rcode.NXDOMAIN
    return this.#config.share === 1 || Math.random() < this.#config.share
  }
}

/** Below these are the token of the self-probe, by which the workers know it, and names that only those know who may use them (RFC 7686). */
const SECRETIVE = [`${PROBE_ZONE}.`, 'onion.']

function shown(name: string | null): string | null {
  const folded = name?.toLowerCase()
  return SECRETIVE.find((zone) => folded?.endsWith(`.${zone}`) === true) ?? name
}

function facts(query: Query): Record<string, unknown> {
  const { client, failure } = query
  const asked = query.questionEnd > HEADER_LENGTH ? { name: shown(nameText(query.wire, HEADER_LENGTH)), type: typeText(query.qtype) } : {}
  const { holder } = client
  const by = holder === null ? {} : { [holder.clientCa === null ? 'token' : 'certificate']: holder.name }
  return { transport: client.traits.label, client: client.address, ...by, ...asked, ...(failure === null ? {} : { failure: failure.code }) }
}
