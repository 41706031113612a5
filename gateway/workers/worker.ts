import { parentPort } from 'node:worker_threads'
import { OperationalError, reasonOf } from '../../dns/operational-error.ts'
import { DataPlane, type WorkerSetup } from '../data-plane.ts'
import { createLog } from '../log.ts'
import type { Order, Report } from './protocol.ts'

/**
 * The entry of a worker thread: the first message is what it is made from. It handles no errors but those of start: whatever else
 * is thrown is a defect, ends this thread and no other, and the main thread tells of it.
 */
parentPort?.once('message', (setup: WorkerSetup) => void start(setup))

function report(what: Report): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port, not a window
  parentPort?.postMessage(what)
}

async function carryOut(plane: DataPlane, { id, command }: Order): Promise<void> {
  try {
    report({ kind: 'done', id, facts: await plane.execute(command) })
  } catch (error) {
    report({ kind: 'refused', id, code: error instanceof OperationalError ? error.code : null, message: reasonOf(error) })
  }
}

async function start(setup: WorkerSetup): Promise<void> {
  try {
    const plane = new DataPlane(setup, createLog(setup.config.log.level).child({ worker: setup.index }))
    await plane.start()
    parentPort?.on('message', (order: Order) => void carryOut(plane, order))
    report({ kind: 'started', facts: plane.facts })
  } catch (error) {
    if (!(error instanceof OperationalError)) throw error
    report({ kind: 'failed', code: error.code, message: error.message })
  }
}
