import type { Answer } from '../../dns/answer.ts'
import type { Client, QueryAcceptor, ReplySink, TransportMeter } from '../../dns/contracts.ts'
import { Failure } from '../../dns/failure.ts'
import { Flag, flagsOf, MAX_MESSAGE_LENGTH } from '../../dns/header.ts'
import { Query } from '../../dns/query.ts'
import type { Clock } from '../../net/clock.ts'
import { LiveCount } from '../../net/live-count.ts'
import { scratch } from '../../net/scratch.ts'
import type { Wheel } from '../../net/wheel.ts'
import type { WebPlace, WebServer } from '../web/exchange.ts'
import type { Workload } from '../workload.ts'
import type { ConnectionClient } from './connection-client.ts'
import { CONTENT_TIMEOUT_MS, Content } from './content.ts'
import { caResponse, landingPage } from './landing-page.ts'
import { type DohRules, messageFailure, planRequest, type QuestionPlan, type RequestHead, type RequestPlan } from './request.ts'
import { failureResponse, jsonResponse, optionsResponse, type PlainResponse } from './response.ts'

const EMPTY = Buffer.alloc(0)
/** RFC 9110 §9.2.1. */
export const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])
const TOO_EARLY: RequestPlan = { kind: 'failure', failure: Failure.http_too_early, allow: '' }

/** One HTTP request and its response; each HTTP version has a class for how it responds. */
export abstract class Exchange implements ReplySink {
  /** Who asks; a trusted proxy may name another. */
  client: Client
  readonly origin: ConnectionClient
  readonly service: DohService
  readonly headOnly: boolean
  readonly workload: Workload
  /** Whether content is still to come. */
  reading = false
  /** Whether the answer is to be in JSON. */
  isJson = false
  /** What has come of it. */
  content: Content | null = null
  /** There has been a response, or the client has gone: whatever comes is not sent. */
  #isOver = false

  constructor(facts: ExchangeFacts) {
    this.client = facts.origin.client
    this.origin = facts.origin
    this.service = facts.service
    this.workload = facts.workload
    this.headOnly = facts.method === 'HEAD'
    facts.service.open.increase()
  }

  /** Sends a DNS answer, which is borrowed. `freshness`: seconds for which it may be stored (RFC 8484 §5.1). */
  abstract respond(message: Uint8Array, freshness: number): void
  /** Sends anything else. The request may still be arriving: what comes is discarded. */
  abstract dismiss(response: PlainResponse): void
  /** Fails with http_body_timeout unless the content is there within CONTENT_TIMEOUT_MS. */
  abstract awaitContent(): void

  deliver(query: Query, answer: Answer): void {
    this.workload.questions--
    if (!this.#isOver) this.service.answer(this, query, answer)
  }

  /** Counted by the pipeline already. */
  refuse(_query: Query, failure: Failure): void {
    this.workload.questions--
    if (!this.#isOver) this.service.dismiss(this, failure)
  }

  /** False when it has ended already. */
  end(): boolean {
    if (this.#isOver) return false
    this.#isOver = true
    this.reading = false
    return true
  }
}

export interface ExchangeFacts {
  readonly origin: ConnectionClient
  readonly service: DohService
  readonly workload: Workload
  readonly method: string
}

export interface DohDependencies {
  readonly acceptor: QueryAcceptor
  readonly clock: Clock
  readonly wheel: Wheel
  readonly meter: TransportMeter
}

/** A request for a page, and who serves it. */
export interface PagePlace extends WebPlace {
  readonly web: WebServer
}

/** DNS over HTTPS (RFC 8484) between the HTTP versions and the pipeline. */
export class DohService {
  rules: DohRules
  /** Exchanges without a response, for drain(). */
  readonly open = new LiveCount()
  readonly #dependencies: DohDependencies

  constructor(rules: DohRules, dependencies: DohDependencies) {
    this.rules = rules
    this.#dependencies = dependencies
  }

  /** The head of a request has arrived. Not null: it is for a page, and no more business of the exchange. */
  begin(exchange: Exchange, head: RequestHead): PagePlace | null {
    const client = exchange.origin.of(head, this.rules)
    if (client === null) {
      this.fail(exchange, Failure.http_bad_request)
      return null
    }
    exchange.client = client
    // before anything is said about the request (conformance DNS-23); pages need no token
    if (client.refusal === Failure.access_denied) {
      this.fail(exchange, Failure.access_denied)
      return null
    }
    const plan = this.#isTooEarly(exchange, head) ? TOO_EARLY : planRequest(head, this.rules)
    switch (plan.kind) {
      case 'failure':
        this.#dependencies.meter.dropped(plan.failure)
        this.#respond(exchange, failureResponse(plan.failure, plan.allow))
        break
      case 'options':
        this.#respond(exchange, optionsResponse(plan.allow))
        break
      case 'landing':
        this.#respond(exchange, landingPage({ ...this.rules.offer, authority: plan.authority }))
        break
      case 'ca':
        this.#respond(exchange, caResponse(plan.ca))
        break
      case 'forward':
        this.#close(exchange)
        return { web: plan.web, client, authority: plan.authority, target: plan.target }
      default:
        this.#beginQuestion(exchange, plan)
    }
    return null
  }

  #beginQuestion(exchange: Exchange, plan: QuestionPlan): void {
    exchange.client = exchange.origin.holding(exchange.client, plan.token)
    const { refusal } = exchange.client
    if (refusal !== null) {
      this.fail(exchange, refusal)
      return
    }
    if (plan.kind === 'content') {
      exchange.reading = true
      exchange.awaitContent()
      return
    }
    exchange.isJson = plan.kind === 'json'
    this.#ask(exchange, plan.message)
  }

  /** Content that is borrowed. `isLast`: there is no more. */
  take(exchange: Exchange, chunk: Uint8Array, isLast: boolean): void {
    if (!exchange.reading) return
    // nearly all comes in one piece
    if (isLast && exchange.content === null && chunk.length <= MAX_MESSAGE_LENGTH) {
      exchange.reading = false
      this.#ask(exchange, chunk)
      return
    }
    exchange.content ??= new Content(exchange)
    if (!exchange.content.add(chunk)) this.fail(exchange, Failure.http_body_too_large)
    else if (isLast) this.contentEnded(exchange)
  }

  contentEnded(exchange: Exchange): void {
    if (!exchange.reading) return
    exchange.reading = false
    this.#forgetContent(exchange)
    this.#ask(exchange, exchange.content?.take() ?? EMPTY)
  }

  /** Gives the content a deadline. */
  awaitContent(exchange: Exchange): void {
    exchange.content = new Content(exchange)
    this.#dependencies.wheel.set(exchange.content, this.#dependencies.clock() + CONTENT_TIMEOUT_MS)
  }

  /** The client has gone: the answer may come, but nobody waits for it. */
  abandon(exchange: Exchange): void {
    this.#close(exchange)
  }

  /** Counts what never became an exchange. */
  dropped(failure: Failure): void {
    this.#dependencies.meter.dropped(failure)
  }

  fail(exchange: Exchange, failure: Failure): void {
    this.#dependencies.meter.dropped(failure)
    this.dismiss(exchange, failure)
  }

  answer(exchange: Exchange, query: Query, answer: Answer): void {
    this.#close(exchange)
    const now = query.answeredAt
    const length = answer.encodeInto(scratch, 0, query, now)
    const truncated = (flagsOf(scratch) & Flag.TC) !== 0
    const message = scratch.subarray(0, length)
    const freshness = truncated ? 0 : answer.freshness(now)
    if (exchange.isJson) exchange.dismiss(jsonResponse(message, freshness))
    else exchange.respond(message, freshness)
  }

  /** RFC 8470 §5.2: the proxy has it from early data, which could be a copy of an earlier request. */
  #isTooEarly({ origin }: Exchange, head: RequestHead): boolean {
    return origin.isTrusted(this.rules) && !SAFE_METHODS.has(head.method) && head.earlyData !== ''
  }

  #ask(exchange: Exchange, message: Uint8Array): void {
    const failure = messageFailure(message)
    if (failure !== null) {
      this.fail(exchange, failure)
      return
    }
    exchange.workload.questions++
    exchange.workload.asked++
    this.#dependencies.acceptor.accept(new Query(exchange.client, exchange, 0, message))
  }

  /** Answers with what has been counted already. */
  dismiss(exchange: Exchange, failure: Failure): void {
    this.#respond(exchange, failureResponse(failure))
  }

  #respond(exchange: Exchange, response: PlainResponse): void {
    this.#close(exchange)
    exchange.dismiss(response)
  }

  #close(exchange: Exchange): void {
    if (!exchange.end()) return
    this.#forgetContent(exchange)
    this.open.decrease()
  }

  #forgetContent({ content }: Exchange): void {
    if (content !== null) this.#dependencies.wheel.clear(content)
  }
}
