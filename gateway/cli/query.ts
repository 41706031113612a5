import type { Command } from 'commander'
import type { QueryOptions } from './query-arguments.ts'

/** Adds the `query` command: asks one question over any transport and shows the answer. */
export function addQueryCommand(program: Command, out: (text: string) => void = (text) => process.stdout.write(text)): void {
  program
    .command('query')
    .description('ask a DNS server over UDP, TCP, TLS, HTTPS, QUIC or HTTP/3')
    .argument(
      '[words...]',
      '@server, name, type and class in any order; @server is a URL: udp:// tcp:// tls:// https:// quic:// or h3://, such as tls://127.0.0.1:8853',
    )
    .option('--ca <file>', 'trust the CA certificates in this PEM file instead of the public ones')
    .option('--insecure', 'do not verify the certificate')
    .option('--server-name <name>', 'expect a certificate for this name (default: the host)')
    .option('--get', 'HTTPS and HTTP/3: GET instead of POST')
    .option('--ignore-tc', 'UDP: take a truncated answer, do not ask again over TCP')
    .option('--short', 'show the data of the answer records only')
    .option('--json', 'show the answer as JSON (RFC 8427), with "transport" for how it came')
    .option('--timeout <duration>', 'how long to wait, such as 500ms or 5s (default: 5s)')
    .option('--dnssec', 'ask for DNSSEC records (DO)')
    .option('--cd', 'ask not to validate (CD)')
    .option('--no-rd', 'do not ask for recursion')
    .option('--no-edns', 'send no OPT record')
    .option('--bufsize <octets>', 'largest UDP answer to announce')
    .option('--padding', 'pad the query (default: on encrypted transports)')
    .option('--no-padding', 'do not pad the query')
    .option('--id <number>', 'message id (default: random; 0 over HTTPS, HTTP/3 and QUIC, which allows no other)')
    .action(async (words: string[], options: QueryOptions) => {
      // its code is half of the command line's: no other command waits for it
      const { runQuery } = await import('./query-run.ts')
      await runQuery(words, options, out)
    })
}
