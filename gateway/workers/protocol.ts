import type { ChallengeCertificate } from '../../certs/acme/challenge-certificate.ts'
import type { OperationalCode } from '../../dns/operational-error.ts'
import type { Endpoint } from '../../net/address.ts'
import type { SocketName } from '../assembly/transports.ts'
import type { DataPlaneFacts, DataPlaneSettings, WorkerSetup } from '../data-plane.ts'

/** What the main thread tells a worker; each command is acknowledged. */
export type Command =
  /** Serve with other settings; what they leave out serves on until it is settled. When this is refused, the former settings are due. */
  | { readonly name: 'reconfigure'; readonly settings: DataPlaneSettings }
  /** The settings are final: what they left out drains, at the latest for `deadlineMs`. Acknowledged at once. */
  | { readonly name: 'settle'; readonly deadlineMs: number }
  /** Show CAs these challenges, and no others. */
  | { readonly name: 'challenges'; readonly certificates: readonly ChallengeCertificate[] }
  /** Bind an address anew: its socket does not answer. */
  | { readonly name: 'rebind'; readonly socket: SocketName; readonly endpoint: Endpoint }
  /** Take nothing new, answer what is open, end; at the latest after `deadlineMs`. */
  | { readonly name: 'drain'; readonly deadlineMs: number }
  | { readonly name: 'close' }

/** A command on its way to a thread. */
export interface Order {
  readonly id: number
  readonly command: Command
}

/** What a thread says. */
export type Report =
  | { readonly kind: 'started'; readonly facts: DataPlaneFacts }
  | { readonly kind: 'failed'; readonly code: OperationalCode; readonly message: string }
  | { readonly kind: 'done'; readonly id: number; readonly facts: DataPlaneFacts }
  | { readonly kind: 'refused'; readonly id: number; readonly code: OperationalCode | null; readonly message: string }

/** A data plane from outside, wherever it runs. */
export interface WorkerHandle {
  /** Resolves when it serves; rejects when it cannot, and then it ends by itself. */
  readonly started: Promise<DataPlaneFacts>
  /** Resolves when nothing of it is left, with the error that ended it; null when that was terminate(). */
  readonly ended: Promise<Error | null>
  /** Commands before it has started are carried out after that. Rejects when the worker refuses, or ends before it has acknowledged. */
  tell(command: Command): Promise<DataPlaneFacts>
  /** Ends it at once, whatever it is doing. */
  terminate(): Promise<void>
}

export interface Launcher {
  /** `workers` of them will be wanted soon; the QUIC library is to put its keys in `keyDirectory` for a moment. */
  prepare(workers: number, keyDirectory: string): void
  launch(setup: WorkerSetup): WorkerHandle
  /** Ends those that were prepared and not wanted. */
  close(): Promise<void>
}
