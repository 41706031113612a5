import type { ServerResponse } from 'node:http'

/** What the doors refuse with, and the status of each (docs/api.md). */
export const REFUSALS = {
  bad_request: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  content_too_large: 413,
  misdirected_request: 421,
  unprocessable: 422,
  too_many_requests: 429,
  internal: 500,
  not_implemented: 501,
  unavailable: 503,
} as const

export type RefusalCode = keyof typeof REFUSALS

export interface Refusal<Code extends RefusalCode = RefusalCode> {
  readonly code: Code
  /** "expected …: received …" */
  readonly message: string
  readonly headers?: Readonly<Record<string, string>>
}

/** The JSON of every error. */
export function errorBody({ code, message }: Refusal) {
  return { error: { code, message } }
}

export function sendRefusal(response: ServerResponse, refusal: Refusal): void {
  const body = JSON.stringify(errorBody(refusal))
  const headers = { ...refusal.headers, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
  response.writeHead(REFUSALS[refusal.code], headers).end(body)
}
