/** Of a response: those of public CAs have some 500 octets, 3,000 with the certificate of a delegate. */
const MAX_RESPONSE_BYTES = 65_536
/** For all of it: name, connection, response. */
const TIMEOUT_MS = 10_000

/**
 * Asks a responder (RFC 6960 appendix A.1). Redirections are not followed: only who stands in the certificate is asked. Throws an Error
 * whose message is the bare reason.
 */
export async function askResponder(responder: URL, { request, signal }: { request: Uint8Array; signal: AbortSignal }): Promise<Buffer> {
  const { Agent, request: send } = await import('undici')
  const agent = new Agent({ connect: { timeout: TIMEOUT_MS } })
  try {
    const { statusCode, body } = await send(responder, {
      dispatcher: agent,
      method: 'POST',
      headers: { 'content-type': 'application/ocsp-request', accept: 'application/ocsp-response' },
      body: request,
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    })
    if (statusCode !== 200) throw new Error(`expected status 200: received ${statusCode}`)
    return await readBounded(body)
  } finally {
    // whatever is still open: a connection that is being made does not hear the signal
    await agent.destroy()
  }
}

async function readBounded(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body) {
    length += chunk.length
    if (length > MAX_RESPONSE_BYTES) throw new Error(`expected at most ${MAX_RESPONSE_BYTES} octets: received more`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
