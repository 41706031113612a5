import { execFileSync } from 'node:child_process'
import { CLIENTS } from './clients.ts'
import { runGateway } from './gateway.ts'
import { aRecord, question, response } from './messages.ts'
import { rcode } from './pipeline.ts'
import { type Handler, udpServer } from './servers.ts'

/*
 * Run in a network namespace of its own, whose kernel loses a fifth of all datagrams to one of three upstreams. Asks a gateway in front of
 * them, by each strategy, and writes what clients got and how much was lost, as JSON.
 */

/** Asked for one after the other by so many clients. */
const QUESTIONS = 30
const CLIENTS_AT_ONCE = 10
const SERVERS = ['10.9.0.1', '10.9.0.2', '10.9.0.3']
/** Of 2^32: what `ld rand` has to be above for a packet to pass. */
const LOST = Math.round(0.2 * 2 ** 32)
/**
 * A packet filter, in numbers as tc has them: what goes to the first server (the IPv4 destination behind an Ethernet header, as octets)
 * is dropped (2) unless a random number lets it pass (0). netem would do the same, but is missing from many kernels.
 */
const FILTER = `6,32 0 0 30,21 0 3 ${0x0a09_0001},32 0 0 ${2 ** 32 - 0x1000 + 56},37 1 0 ${LOST},6 0 0 2,6 0 0 0`

const run = (command: string, ...args: string[]) => execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
run('ip', 'link', 'set', 'lo', 'up')
for (const address of SERVERS) run('ip', 'addr', 'add', `${address}/32`, 'dev', 'lo')
run('tc', 'qdisc', 'add', 'dev', 'lo', 'clsact')
run('tc', 'filter', 'add', 'dev', 'lo', 'egress', 'bpf', 'da', 'bytecode', FILTER)

function dropped(): number {
  const disciplines = JSON.parse(run('tc', '-s', '-j', 'qdisc', 'show', 'dev', 'lo')) as { kind: string; drops: number }[]
  return disciplines.find(({ kind }) => kind === 'clsact')?.drops ?? 0
}

const answering: Handler = (query, reply) => reply(response(query, { answers: [aRecord()] }))
const servers = await Promise.all(SERVERS.map((host) => udpServer(answering, 0, host)))

async function askAll(strategy: 'ordered' | 'round-robin' | 'fastest'): Promise<{ strategy: string; answered: number; lost: number }> {
  const before = dropped()
  const gateway = await runGateway(
    servers.map(({ endpoint }) => endpoint),
    { strategy },
  )
  let answered = 0
  const askMany = async (client: number): Promise<void> => {
    for (let i = 0; i < QUESTIONS; i++) {
      const reaction = await CLIENTS[0]?.send(gateway, question({ name: `q${i}.c${client}.example`, opt: '' }))
      if (reaction?.kind === 'answer' && rcode(reaction.message) === 0) answered++
    }
  }
  await Promise.all(Array.from({ length: CLIENTS_AT_ONCE }, (_, client) => askMany(client)))
  await gateway[Symbol.asyncDispose]()
  return { strategy, answered, lost: dropped() - before }
}

const outcomes = [await askAll('ordered'), await askAll('round-robin'), await askAll('fastest')]
for (const server of servers) await server[Symbol.asyncDispose]()
console.log(JSON.stringify({ asked: QUESTIONS * CLIENTS_AT_ONCE, outcomes }))
