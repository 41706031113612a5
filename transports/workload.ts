/** What one connection gives the gateway to do. */
export interface Workload {
  /** Questions without an answer, those whose client has given up included: a reset frees no work (CVE-2023-44487). */
  questions: number
  /** Questions so far. */
  asked: number
}

export function noWork(): Workload {
  return { questions: 0, asked: 0 }
}
