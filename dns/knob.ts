/** One tunable: what holds when nothing is said, and the range an operator may choose from. The unit is in the constant's name. */
export interface Knob {
  readonly default: number
  readonly min: number
  readonly max: number
}

export function knob(standard: number, min: number, max: number): Knob {
  return Object.freeze({ default: standard, min, max })
}
