import type { Answer } from '../dns/answer.ts'
import type { Failure } from '../dns/failure.ts'
import type { QuicCloseReason } from '../net/quic.ts'
import type { QuicProtocol } from './quic-dialect.ts'
import type { QuicLink } from './quic-link.ts'
import type { QuicQuestion } from './quic-question.ts'
import type { ConnectionTerms, UpstreamDependencies } from './server.ts'

/** Whom a connection tells what becomes of it and of its questions. */
export interface LinkOwner {
  /** It may be asked. */
  established(link: QuicLink): void
  answered(question: QuicQuestion, result: Answer | Failure): void
  /** The question is to be asked elsewhere: it was not processed here. `counts`: this was its first attempt of two. */
  unasked(question: QuicQuestion, counts: boolean): void
  /** It is old: another one is to take its place. */
  aged(link: QuicLink): void
  /** The last call. `reason`: null where it was ended on this side. */
  ended(link: QuicLink, end: { questions: readonly QuicQuestion[]; reason: QuicCloseReason | null }): void
  ticket(bytes: Uint8Array): void
  busy(ms: number): void
}

export interface LinkFacts {
  readonly protocol: QuicProtocol
  readonly terms: ConnectionTerms
  readonly owner: LinkOwner
  readonly dependencies: Pick<UpstreamDependencies, 'clock' | 'wheel'>
  /** Whether a session was offered. */
  readonly resumes: boolean
}
