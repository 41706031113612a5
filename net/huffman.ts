import { u8 } from '../dns/bytes.ts'

/** RFC 7541 appendix B: bits of each octet's code, EOS last. The code is canonical, so the lengths give the codes. */
export const CODE_LENGTHS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10,
  12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7,
  7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22,
  23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22,
  23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20,
  24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
]
const EOS = 256
const LONGEST_CODE = 30
/** RFC 7541 §5.2. */
const LONGEST_PADDING = 7

/** Inner nodes of the code's tree, which are the decoder's states; the root is 0. */
const STATES = 256
/** In a transition: the octets that come out in bits 0-15, how many in bits 16-17, the next state above; or FAILS. No code is shorter than five bits. */
const FAILS = -1

const TREE = buildTree()
/** By state and next octet (measured: a third of the time of steps of four bits, and of a table of codes). */
const TRANSITIONS = buildTransitions()
/** States in which a string may end: only ones since the last octet, and at most seven. */
const MAY_END = buildEnds()

/** decode(): not this code. */
export const INVALID = -1
/** decode(): longer than the decoder's room. */
export const TOO_LONG = -2

/** Decodes Huffman-coded strings (RFC 7541 §5.2) into its own buffer. */
export class HuffmanDecoder {
  /** The octets of the last string. */
  readonly out: Buffer
  readonly #room: number

  constructor(room: number) {
    this.#room = room
    // two are written for every octet
    this.out = Buffer.alloc(room + 2)
  }

  /** Decodes the octets from `at` up to `end`: the length of the string, INVALID or TOO_LONG. */
  decode(bytes: Uint8Array, at: number, end: number): number {
    const { out } = this
    let state = 0
    let length = 0
    for (; at < end; at++) {
      const transition = TRANSITIONS[(state << 8) | u8(bytes, at)] as number
      // RFC 7541 §5.2: EOS within a string is an error
      if (transition === FAILS) return INVALID
      out[length] = transition
      out[length + 1] = transition >> 8
      length += (transition >> 16) & 3
      state = transition >> 18
      if (length > this.#room) return TOO_LONG
    }
    // RFC 7541 §5.2: padding is the beginning of EOS and shorter than an octet
    return MAY_END[state] === 1 ? length : INVALID
  }
}

/** Child of node n on bit b at 2n + b: the number of an inner node, or the complement of an octet. */
function buildTree(): Int16Array {
  const tree = new Int16Array(2 * STATES)
  let nodes = 1
  let code = 0
  for (let length = 1; length <= LONGEST_CODE; length++) {
    code *= 2
    for (const [octet, own] of CODE_LENGTHS.entries()) {
      if (own !== length) continue
      let node = 0
      for (let bit = length - 1; bit > 0; bit--) {
        const slot = 2 * node + ((code >>> bit) & 1)
        if (tree[slot] === 0) tree[slot] = nodes++
        node = tree[slot] as number
      }
      tree[2 * node + (code & 1)] = ~octet
      code++
    }
  }
  return tree
}

function buildTransitions(): Int32Array {
  const halves = Int32Array.from({ length: STATES * 16 }, (_, index) => transitionOf(index >> 4, index & 15))
  const transitions = new Int32Array(STATES * 256)
  for (let index = 0; index < transitions.length; index++) {
    const first = halves[((index >> 8) << 4) | ((index >> 4) & 15)] as number
    const second = first === FAILS ? FAILS : (halves[((first >> 18) << 4) | (index & 15)] as number)
    transitions[index] = second === FAILS ? FAILS : joined(first, second)
  }
  return transitions
}

/** Two transitions of at most one octet each. */
function joined(first: number, second: number): number {
  const count = (first >> 16) & 3
  return ((second >> 18) << 18) | ((count + ((second >> 16) & 3)) << 16) | (first & 0xff) | ((second & 0xff) << (8 * count))
}

/** What four bits do. */
function transitionOf(state: number, bits: number): number {
  let emitted = 0
  for (let bit = 3; bit >= 0; bit--) {
    const child = TREE[2 * state + ((bits >> bit) & 1)] as number
    if (~child === EOS) return FAILS
    if (child < 0) emitted = (1 << 16) | ~child
    state = Math.max(child, 0)
  }
  return (state << 18) | emitted
}

function buildEnds(): Uint8Array {
  const ends = new Uint8Array(STATES)
  let state = 0
  for (let ones = 0; ones <= LONGEST_PADDING; ones++) {
    ends[state] = 1
    state = TREE[2 * state + 1] as number
  }
  return ends
}
