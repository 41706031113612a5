import { type HttpResponse, httpOfCall } from './http.ts'

type Library = typeof import('acme-client')

/** 370 ms and 40 MB, so only when something is asked of a CA. It speaks through AcmeHttp.call() and never tries anything again but for its nonce. */
export async function loadAcmeClient(): Promise<Library> {
  const library = await import('acme-client')
  library.axios.defaults.adapter = async (config) => {
    const { status, headers, body }: HttpResponse = await httpOfCall().send({
      url: config.url ?? '',
      method: (config.method ?? 'get').toUpperCase(),
      headers: { 'content-type': String(config.headers['Content-Type'] ?? '') },
      body: typeof config.data === 'string' ? config.data : '',
    })
    // the library would take it for an object all the same
    if (!/^\s*(\{|-----BEGIN|$)/.test(body)) throw new Error(`what the CA sends is neither an object nor a certificate: ${config.url}`)
    return { status, statusText: '', headers: { ...headers } as Record<string, string>, data: body, config }
  }
  return library
}
