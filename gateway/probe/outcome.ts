import type { ProbeTarget } from './target.ts'

/** How one probe ended. Reasons are for operators. */
export type ProbeOutcome =
  | { readonly outcome: 'ok'; readonly worker: number; readonly seconds: number }
  /** The listener is alive, but does not take our question: an access list or a limit, no fault of the listener. */
  | { readonly outcome: 'refused'; readonly reason: string }
  | { readonly outcome: 'failed'; readonly reason: string }

/** One probe, on a connection of its own. Never rejects; ends at once when `stop` says so, whatever the outcome is then. */
export type Ask = (target: ProbeTarget, stop: AbortSignal) => Promise<ProbeOutcome>
