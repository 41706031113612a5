import type { Authorization, Order } from 'acme-client'
import { fieldOf, printable, textOf } from './problem.ts'

/** The library hands on whatever has arrived: these are what its types say, or throw. */

const ORDER_STATES = new Set(['pending', 'ready', 'processing', 'valid', 'invalid'])
/** As many as names in an order, and the same for a wildcard and its parent. */
const MAX_AUTHORIZATIONS = 200
const MAX_CHALLENGES = 20
/** RFC 8555 §8.1: base64url. */
const TOKEN = /^[\w-]{1,256}$/

export function checkedOrder(order: Order, url: string): Order {
  const { status, authorizations, finalize } = fieldsOf(order, url)
  const isWhole = ORDER_STATES.has(String(status)) && isList(authorizations, MAX_AUTHORIZATIONS, isText) && isText(finalize) && isText(url)
  if (!isWhole) throw new Error(`what the CA sends is no order (RFC 8555 §7.1.3): ${printable(url, 200)}`)
  if (status === 'valid' && textOf(order, 'certificate') === '') throw new Error(`the order is valid, but has no certificate: ${url}`)
  return order
}

export function checkedAuthorization(authorization: Authorization | undefined, url: string): Authorization {
  const { status, identifier, challenges } = fieldsOf(authorization, url)
  const isWhole =
    isText(status) &&
    isText(fieldOf(identifier, 'type')) &&
    isText(fieldOf(identifier, 'value')) &&
    isList(challenges, MAX_CHALLENGES, (each) => isText(fieldOf(each, 'type')) && isText(fieldOf(each, 'url')))
  if (!isWhole || authorization === undefined) {
    throw new Error(`what the CA sends is no authorization (RFC 8555 §7.1.4): ${printable(url, 200)}`)
  }
  return authorization
}

/** RFC 8555 §8.3: whatever else came with it could leave its place in a path, a file or a page. */
export function checkedToken(token: unknown): string {
  if (typeof token !== 'string' || !TOKEN.test(token))
    throw new Error(`the token of a challenge is not base64url: ${printable(String(token), 100)}`)
  return token
}

function fieldsOf(value: unknown, url: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) throw new Error(`what the CA sends is no object: ${printable(url, 200)}`)
  return { ...value }
}

function isText(value: unknown): boolean {
  return typeof value === 'string' && value !== ''
}

function isList(value: unknown, max: number, isMember: (member: unknown) => boolean): boolean {
  return Array.isArray(value) && value.length <= max && value.every(isMember)
}
