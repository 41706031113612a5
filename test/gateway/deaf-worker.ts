import { Socket } from 'node:dgram'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parentPort } from 'node:worker_threads'
import type { WorkerSetup } from '../../gateway/data-plane.ts'
import '../../gateway/workers/worker.ts'

/**
 * Run as a worker thread: a worker whose UDP listeners hear nothing any more once a file "deaf-<index>" is in the state directory,
 * and never do when they are bound while there is a file "mute".
 */
parentPort?.once('message', watch)

const bound = new Set<Socket>()
const deaf = new WeakSet<Socket>()
const { emit } = Socket.prototype
let mute = ''

Socket.prototype.emit = function (this: Socket, event: string, ...args: unknown[]): boolean {
  if (event === 'listening') bound.add(this)
  if (event === 'listening' && existsSync(mute)) deaf.add(this)
  if (event === 'message' && deaf.has(this)) return false
  return emit.call(this, event, ...args)
}

function watch({ config, index }: WorkerSetup): void {
  mute = join(config.state, 'mute')
  const file = join(config.state, `deaf-${index}`)
  setInterval(() => {
    if (!existsSync(file)) return
    rmSync(file)
    for (const socket of bound) deaf.add(socket)
  }, 10)
}
