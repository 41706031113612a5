/** Questions of one connection that have no answer yet, those whose client has given up included: a reset frees no work (CVE-2023-44487). */
export interface Workload {
  questions: number
}
