import type { ListenerStatus, Status } from '../admin/control.ts'
import { controlClient } from './control-client.ts'
import type { ControlOptions } from './control-options.ts'
import type { Output } from './output.ts'
import { statusLines } from './status-text.ts'

export async function runStatus(options: ControlOptions, output: Output): Promise<void> {
  const client = controlClient(options)
  const status = await client.get<Status>('/v1/status')
  if (options.json) return output.json(status)
  output.lines(statusLines(status, await client.get<readonly ListenerStatus[]>('/v1/listeners')))
}
