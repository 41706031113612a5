import { z } from '@hono/zod-openapi'
import type * as control from './control.ts'
import { EVENT_TYPES } from './control.ts'
import { REFUSALS, type RefusalCode } from './refusal.ts'
import { outcomes } from './reload-schemas.ts'
import { count, describing, list, time } from './schema-tools.ts'

const absolutePath = z.string().nullable().describe('Absolute path; null: defaults and environment only.')

export const CacheStatus = describing<control.CacheStatus>()(
  z
    .object({
      entries: count('Answers and failures.'),
      bytesUsed: count('Octets in use.'),
      bytes: count('Octets of the table.'),
      evictions: count('Entries that had to go to make room.'),
      prefetches: count('Questions asked again ahead of the end of their answers.'),
      coalesced: count('Queries that joined a question on its way.'),
    })
    .openapi('CacheStatus'),
)

const Traffic = describing<control.Traffic>()(
  z
    .object({
      openQueries: count('Queries that are not answered yet.'),
      transports: list(
        z.object({
          transport: z.enum(['udp', 'tcp', 'dot', 'doh1', 'doh2', 'doh3', 'doq']),
          queries: count('Queries received.'),
          connections: count('Open at the moment; always 0 on UDP.'),
        }),
      ),
      answers: list(
        z.object({
          transport: z.enum(['udp', 'tcp', 'dot', 'doh1', 'doh2', 'doh3', 'doq']),
          rcode: z.string().describe('"NOERROR", "NXDOMAIN", … or "other".'),
          source: z.enum(['upstream', 'cache', 'stale', 'local']),
          count: count('Answers given.'),
        }),
      ),
      drops: list(z.object({ reason: z.string().describe('As in docs/errors.md.'), count: count('Queries that failed for it.') })),
    })
    .describe('Counters since the gateway started; they never fall while it runs.')
    .openapi('Traffic'),
)

const WorkerStatus = z
  .object({
    index: count('Its place, from 0.'),
    serving: z.boolean(),
    restarts: count('How often it was replaced.'),
    eventLoop: z.object({
      delaySeconds: z.number().describe('How much later than asked for a timer came, in the last half second or so.'),
      utilization: z.number().min(0).max(1).describe('Share of time in which the thread was busy.'),
    }),
  })
  .openapi('WorkerStatus')

const LastReload = z
  .object({
    at: time('When it ended.'),
    outcome: z.enum([...outcomes.done, ...outcomes.wrong, ...outcomes.busy]),
    message: z.string().nullable().describe('Null where it was applied.'),
  })
  .openapi('LastReload')

export const Status = describing<control.Status>()(
  z
    .object({
      version: z.string(),
      pid: z.int(),
      startedAt: time('When the process began to serve.'),
      uptimeSeconds: z.number().min(0),
      configFile: absolutePath,
      stateDirectory: z.string().describe('Absolute path.'),
      ready: z.boolean(),
      draining: z.boolean(),
      reasons: list(z.string()).describe('Why the gateway is not ready, one sentence each; empty when it is.'),
      warnings: list(z.string()).describe('What is wrong although queries are answered: certificates that end soon, or are not renewed.'),
      // nullable() would lose the null beside the reference
      lastReload: z.union([LastReload, z.null()]),
      workers: list(WorkerStatus),
      traffic: Traffic,
      cache: CacheStatus,
    })
    .openapi('Status'),
)

export const Configuration = describing<control.ConfigurationView>()(
  z
    .object({
      file: absolutePath,
      settings: z.record(z.string(), z.unknown()).describe("Complete, defaults included, in the operator's form."),
    })
    .openapi('Configuration'),
)

const ProbeStatus = z
  .object({
    transport: z.enum(['udp', 'tcp', 'dot', 'doh', 'doh3', 'doq']),
    outcome: z
      .enum(['ok', 'refused', 'failed', 'pending'])
      .describe('refused: alive, but this machine may not ask there or has too many connections; pending: not probed yet.'),
    reason: z.string().nullable().describe('Null while there is nothing to say.'),
    at: time('When it was probed last.').nullable(),
    seconds: z.number().nullable().describe('How long the last answer took.'),
    rebinds: count('How often a socket was bound anew because it did not answer.'),
  })
  .openapi('ProbeStatus')

export const ListenerStatus = describing<control.ListenerStatus>()(
  z
    .object({
      kind: z.enum(['doh', 'dot', 'doq', 'dns']),
      address: z.string().describe('"127.0.0.1:853", with the true port.'),
      probes: list(ProbeStatus).describe('What the self-probe has found last.'),
    })
    .openapi('ListenerStatus'),
)

const upstreamState = z
  .enum(['unknown', 'up', 'suspect', 'down', 'loop'])
  .describe('suspect: it is being found out whether it answers; down: it does not; loop: it leads back to this gateway.')

const UpstreamWayStatus = z
  .object({
    url: z.string(),
    state: upstreamState,
    sinceSeconds: z.number().nullable().describe('For how long it has been so; null while it is unknown.'),
    rttSeconds: z.number().nullable().describe('Smoothed; null before the first answer.'),
    p95Seconds: z.number().nullable().describe('What nineteen of twenty answers are quicker than, about.'),
    loss: z.number().describe('Share of the last questions that got no answer, 0 to 1.'),
    reason: z.string().nullable().describe('Why it is not up, as in docs/errors.md.'),
  })
  .openapi('UpstreamWayStatus')

export const UpstreamStatus = describing<control.UpstreamStatus>()(
  z
    .object({
      name: z.string(),
      url: z.string().describe('"tls://9.9.9.9:853"; several are separated by commas.'),
      enabled: z.boolean(),
      state: upstreamState,
      ways: list(UpstreamWayStatus).describe('Best first; none while its host name is not found.'),
      queries: count('Questions of clients sent; the other counters but probes are of these, too.'),
      answers: count('Answers received.'),
      failures: list(z.object({ reason: z.string().describe('As in docs/errors.md.'), count: count('How often.') })),
      probes: list(
        z.object({ outcome: z.string().describe('"answered", or why not, as in docs/errors.md.'), count: count('How often.') }),
      ).describe('Questions that the gateway asked by itself, to learn how the upstream is.'),
      meanSeconds: z.number().nullable().describe('Mean of all answers so far; null before the first.'),
    })
    .openapi('UpstreamStatus'),
)

const question = {
  type: z.string().nullable().describe('"AAAA"; null: the name is denied, whatever the type.'),
  class: z.string(),
  dnssecOk: z.boolean(),
  checkingDisabled: z.boolean(),
  network: z
    .string()
    .nullable()
    .describe(
      'For whom: "192.0.2.0/24", "any", or "none" for those who withhold theirs (docs/client-subnet.md); null: nobody was told a network.',
    ),
}

export const CachedName = describing<control.CachedNameView>()(
  z
    .object({
      name: z.string(),
      answers: list(
        z.object({
          ...question,
          rcode: z.string(),
          secondsLeft: z.number().describe('At most 0: past its end, kept in case the upstreams fail.'),
          bytes: count('Octets of the table.'),
          popularity: count('How often it was asked for lately.'),
        }),
      ),
      failures: list(
        z.object({
          ...question,
          extendedError: count('RFC 8914 INFO-CODE.'),
          secondsLeft: z.number().describe('Until it is asked again.'),
        }),
      ),
    })
    .openapi('CachedName'),
)

export const PurgeOutcome = describing<control.PurgeOutcome>()(
  z
    .object({
      entries: count('Answers and failures that are gone.'),
      busyPages: count('Pages that could not be looked through, because other threads were writing to them all the time.'),
    })
    .openapi('PurgeOutcome'),
)

export const Event = describing<control.ControlEvent>()(
  z
    .object({
      id: count('Grows by one with each event of this process.'),
      at: time('When it happened.'),
      type: z.enum(EVENT_TYPES),
      message: z.string().describe('For people.'),
      facts: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
    })
    .openapi('Event'),
)

export const Draining = z.object({ draining: z.literal(true) }).openapi('Draining')

export const ErrorResponse = z
  .object({
    error: z.object({
      code: z.enum(Object.keys(REFUSALS) as [RefusalCode, ...RefusalCode[]]),
      message: z.string().describe('"expected …: received …", for people.'),
    }),
  })
  .openapi('Error')
