import { type Endpoint, formatEndpoint } from '../../net/address.ts'
import type { Challenge, ChallengeSolver } from './challenge.ts'
import { CHALLENGE_SERVER_TIMES, type ChallengeServer, openChallengeServer } from './http-01-server.ts'

/** An address that is answered at, for as long as there are tokens. */
interface Place {
  readonly tokens: Set<string>
  readonly server: ChallengeServer
}

/**
 * The listeners of http-01 (RFC 8555 §8.3), which all solvers share: each is open only while a challenge is pending that needs its
 * address, so that other programs can have port 80 at other times, and nothing is there to be attacked.
 */
export class HttpChallenges {
  /** Key authorizations by token. */
  readonly #answers = new Map<string, string>()
  /** By address. */
  readonly #places = new Map<string, Place>()
  readonly #times: typeof CHALLENGE_SERVER_TIMES
  #last: Promise<unknown> = Promise.resolve()

  constructor(times = CHALLENGE_SERVER_TIMES) {
    this.#times = times
  }

  /** Rejects with ATLAS_LISTEN when one of the addresses cannot be bound; hide() is due then too. */
  show({ token, keyAuthorization }: Challenge, endpoints: readonly Endpoint[]): Promise<void> {
    return this.#inTurn(async () => {
      this.#answers.set(token, keyAuthorization)
      for (const endpoint of endpoints) {
        const place = await this.#placeAt(endpoint)
        place.tokens.add(token)
      }
    })
  }

  hide(token: string): Promise<void> {
    return this.#inTurn(async () => {
      this.#answers.delete(token)
      for (const [key, { tokens, server }] of this.#places) {
        if (!tokens.delete(token) || tokens.size > 0) continue
        this.#places.delete(key)
        await server.close()
      }
    })
  }

  async #placeAt(endpoint: Endpoint): Promise<Place> {
    const key = formatEndpoint(endpoint)
    const present = this.#places.get(key)
    if (present !== undefined) return present
    const server = await openChallengeServer(endpoint, { answers: this.#answers, times: this.#times })
    const opened = { tokens: new Set<string>(), server }
    this.#places.set(key, opened)
    return opened
  }

  /** One after the other: an address that is given up is free before it is wanted again. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const result = this.#last.then(work)
    this.#last = result.catch(() => {})
    return result
  }
}

/** http-01 at the addresses of one certificate. */
export class HttpSolver implements ChallengeSolver {
  readonly type = 'http-01'
  readonly #challenges: HttpChallenges
  readonly #endpoints: readonly Endpoint[]
  readonly #tokens = new Set<string>()

  constructor(challenges: HttpChallenges, endpoints: readonly Endpoint[]) {
    this.#challenges = challenges
    this.#endpoints = endpoints
  }

  async present(challenge: Challenge): Promise<void> {
    this.#tokens.add(challenge.token)
    await this.#challenges.show(challenge, this.#endpoints)
  }

  async remove({ token }: Pick<Challenge, 'token'>): Promise<void> {
    if (this.#tokens.delete(token)) await this.#challenges.hide(token)
  }

  async close(): Promise<void> {
    await Promise.all(Array.from(this.#tokens, (token) => this.remove({ token })))
  }
}
